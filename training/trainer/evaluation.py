"""Scores of a network's logits, computed the same way for both backends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Scores:
    """What the logits say about labelled images."""

    loss: float  # mean cross-entropy
    accuracy: float  # share of images whose greatest logit is the label's, 0 to 1
    predictions: NDArray[np.int64]  # (N,), the class of the greatest logit (the first of equal)
    probabilities: NDArray[np.float64]  # (N, 10), softmax of the logits


def score(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Scores:
    """Return the scores of logits (N, 10) against labels (N,), computed in float64."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    losses = log_sum - shifted[np.arange(len(labels)), labels]
    predictions = logits.argmax(axis=1)
    return Scores(
        loss=float(losses.mean()),
        accuracy=float((predictions == labels).mean()),
        predictions=predictions,
        probabilities=np.exp(shifted - log_sum[:, None]),
    )


def confusion_matrix(labels: NDArray[np.int64], predictions: NDArray[np.int64]) -> NDArray:
    """Return the counts, int64 (10, 10): rows are the true classes, columns the predicted."""
    return np.bincount(labels * 10 + predictions, minlength=100).reshape(10, 10)


def most_confident_errors(scores: Scores, labels: NDArray[np.int64], count: int) -> NDArray:
    """Return the positions of at most `count` misclassified images, most confident first."""
    wrong = np.flatnonzero(scores.predictions != labels)
    confidence = scores.probabilities[wrong, scores.predictions[wrong]]
    return wrong[np.argsort(-confidence, kind="stable")[:count]]
