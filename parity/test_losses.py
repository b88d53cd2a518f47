"""Losses against torch: value and gradient, in both dtypes, with extreme logits."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from numpy_models import CrossEntropyLoss, MSELoss
from parity import compare_loss

pytestmark = pytest.mark.kernels

DTYPES = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("batch", "classes"), [(1, 10), (7, 10), (5, 2), (3, 1), (600, 10)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0])
def test_cross_entropy(batch, classes, smoothing, scale, dtype, rng) -> None:
    logits = (rng.standard_normal((batch, classes)) * scale).astype(dtype)
    targets = rng.integers(0, classes, batch)
    pair = nn.CrossEntropyLoss(label_smoothing=smoothing), CrossEntropyLoss(smoothing)
    comparison = compare_loss(*pair, logits, targets)
    assert comparison.passed, str(comparison)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("logit", [1e4, 1e30])
def test_cross_entropy_of_very_large_logits(logit, dtype, rng) -> None:
    logits = (rng.choice([-1.0, 0.0, 1.0], (6, 10)) * logit).astype(dtype)
    comparison = compare_loss(
        nn.CrossEntropyLoss(), CrossEntropyLoss(), logits, rng.integers(0, 10, 6)
    )
    assert comparison.passed, str(comparison)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cross_entropy_of_equal_logits_is_the_logarithm_of_the_classes(dtype) -> None:
    logits, targets = np.full((4, 10), 3, dtype), np.arange(4)
    assert CrossEntropyLoss().forward(logits, targets) == pytest.approx(np.log(10), rel=1e-6)
    comparison = compare_loss(nn.CrossEntropyLoss(), CrossEntropyLoss(), logits, targets)
    assert comparison.passed, str(comparison)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (4, 10), (2, 3, 4, 5)])
def test_mean_squared_error(shape, dtype, rng) -> None:
    outputs, targets = rng.standard_normal((2, *shape)).astype(dtype)
    comparison = compare_loss(nn.MSELoss(), MSELoss(), outputs, targets)
    assert comparison.passed, str(comparison)
