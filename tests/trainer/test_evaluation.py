"""Scores of logits against hand-made ones."""

from __future__ import annotations

import numpy as np
import pytest

from training.trainer.evaluation import confusion_matrix, most_confident_errors, score


def test_score():
    logits = np.array([[2.0, 0, 0], [0, 3, 1], [1000, 0, 999]], np.float32)
    logits = np.pad(logits, ((0, 0), (0, 7)), constant_values=-np.inf)
    labels = np.array([0, 1, 2])
    scores = score(logits, labels)
    assert scores.accuracy == pytest.approx(2 / 3)
    assert scores.predictions.tolist() == [0, 1, 0]
    rows = np.array([[2.0, 0, 0], [0, 3, 1], [1, -999, 0]])
    softmax = np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scores.probabilities[:, :3], softmax, rtol=1e-6)
    assert scores.loss == pytest.approx(-np.log(softmax[[0, 1, 2], labels]).mean())


def test_confusion_and_errors():
    labels = np.array([0, 1, 1, 9])
    logits = np.zeros((4, 10), np.float32)
    for row, (column, height) in enumerate([(0, 5), (2, 1), (3, 4), (9, 1)]):
        logits[row, column] = height
    scores = score(logits, labels)
    counts = confusion_matrix(labels, scores.predictions)
    assert counts.sum() == 4
    assert counts[0, 0] == counts[1, 2] == counts[1, 3] == counts[9, 9] == 1
    assert most_confident_errors(scores, labels, 5).tolist() == [2, 1]
    assert most_confident_errors(scores, labels, 1).tolist() == [2]


def test_errors_of_equal_confidence_keep_the_images_order():
    labels = np.zeros(200, int)
    logits = np.zeros((200, 10), np.float32)
    logits[::3, 1], logits[1::3, 2] = 5, 7  # every third image is right
    scores = score(logits, labels)
    assert most_confident_errors(scores, labels, 67).tolist() == list(range(1, 200, 3))
    assert most_confident_errors(scores, labels, 200)[67:].tolist() == list(range(0, 200, 3))
