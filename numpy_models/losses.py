"""Losses on public arrays (N, ...), averaged over the batch, and their gradients.

Cross-entropy, per sample, of logits z with p = softmax(z) and a target distribution q:

    L = -Σ_c q_c log p_c   with   log p_c = z_c - log Σ_k exp z_k,   so   dL/dz_c = p_c - q_c,

because the q_c add up to 1. Squared error, per element: L = (y - t)², dL/dy = 2 (y - t). A mean
over n terms divides both by n.
"""

from __future__ import annotations

import numpy as np

from numpy_models.layer import Array


class CrossEntropyLoss:
    """Mean over the batch of -sum_c q_c * log softmax(logits)_c, as ``torch.nn.CrossEntropyLoss``.

    q is the one-hot target smoothed to (1 - s) * onehot + s / classes with s = label_smoothing.
    Computed with log-sum-exp per row, so that large logits do not overflow.

    Raises:
        ValueError: if ``label_smoothing`` is outside [0, 1].
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing must be between 0 and 1, got {label_smoothing!r}")
        self.label_smoothing = label_smoothing
        self._saved: tuple[Array, Array] | None = None

    def forward(self, logits: Array, targets: Array) -> float:
        """Return the loss of ``logits`` (N, classes) against class indices ``targets`` (N,).

        Raises:
            ValueError: if the shapes do not match, or an index is not an integer or out of range.
        """
        targets = np.asarray(targets)
        if logits.ndim != 2 or targets.shape != logits.shape[:1]:
            raise ValueError(
                "CrossEntropyLoss takes logits (N, classes) and targets (N,), got "
                f"{logits.shape} and {targets.shape}"
            )
        if not np.issubdtype(targets.dtype, np.integer):
            raise ValueError(f"targets must be integer class indices, got {targets.dtype}")
        classes = logits.shape[1]
        if targets.size and (targets.min() < 0 or targets.max() >= classes):
            raise ValueError(
                f"targets must lie in 0..{classes - 1}, got {targets.min()}..{targets.max()}"
            )
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        self._saved = (log_probabilities, targets)  # both, for p - q
        rows = np.arange(len(targets))
        loss = -log_probabilities[rows, targets].mean()
        if self.label_smoothing:
            s = self.label_smoothing
            loss = (1 - s) * loss - s * log_probabilities.mean()
        return float(loss)

    __call__ = forward

    def backward(self) -> Array:
        """Return the gradient with respect to the logits, (p - q) / N, shape (N, classes)."""
        if self._saved is None:
            raise RuntimeError("CrossEntropyLoss.backward was called before forward")
        log_probabilities, targets = self._saved
        n, classes = log_probabilities.shape
        gradient = np.exp(log_probabilities)
        gradient[np.arange(n), targets] -= 1 - self.label_smoothing
        if self.label_smoothing:
            gradient -= self.label_smoothing / classes
        gradient /= n
        return gradient


class MSELoss:
    """Mean of (prediction - target)² over all elements, as ``torch.nn.MSELoss``."""

    def __init__(self) -> None:
        self._saved: Array | None = None

    def forward(self, predictions: Array, targets: Array) -> float:
        """Return the loss of two arrays of the same shape.

        Raises:
            ValueError: if the shapes differ.
        """
        if predictions.shape != np.shape(targets):
            raise ValueError(
                "MSELoss takes predictions and targets of the same shape, got "
                f"{predictions.shape} and {np.shape(targets)}"
            )
        difference = predictions - np.asarray(targets, predictions.dtype)
        self._saved = difference  # its multiple is the gradient
        return float(np.square(difference).mean())

    __call__ = forward

    def backward(self) -> Array:
        """Return the gradient with respect to the predictions, 2 * difference / size."""
        if self._saved is None:
            raise RuntimeError("MSELoss.backward was called before forward")
        return self._saved * np.asarray(2 / self._saved.size, self._saved.dtype)
