"""Losses answer misuse in one sentence; their values and gradients are parity's."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_models import CrossEntropyLoss, MSELoss


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CrossEntropyLoss(2), "label_smoothing"),
        (lambda: CrossEntropyLoss()(np.zeros((2, 3)), np.array([0, 3])), r"lie in 0..2, got 0..3"),
        (lambda: CrossEntropyLoss()(np.zeros((2, 3)), np.array([0.0, 1.0])), "integer class"),
        (lambda: CrossEntropyLoss()(np.zeros((2, 3)), np.array([0])), r"\(2, 3\) and \(1,\)"),
        (lambda: MSELoss()(np.zeros(2), np.zeros(3)), "the same shape"),
    ],
)
def test_misuse_is_answered_in_one_sentence(call, message) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [CrossEntropyLoss, MSELoss])
def test_backward_before_forward_is_refused(kind) -> None:
    with pytest.raises(RuntimeError, match="before forward"):
        kind().backward()
