"""Every layer over a table of configurations: outputs, gradients, buffers, nothing mutated."""

from __future__ import annotations

import numpy as np
import pytest

from parity import compare
from parity.layer_cases import BATCH_NORM, CONV, DROPOUT, LAYERS, NON_FINITE, LayerCase

MODAL = BATCH_NORM + DROPOUT


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", LAYERS, ids=str)
def test_training(case: LayerCase, dtype, rng) -> None:
    module, network, inputs = case.torch(rng), case.numpy(dtype), case.inputs(rng, dtype)
    comparison = compare(module, network, inputs, vary=False, name=str(case))
    assert comparison.passed, str(comparison)


@pytest.mark.parametrize(
    "case", {c.kind: c for c in LAYERS if c.data == "normal"}.values(), ids=str
)
def test_variations_of_the_inputs(case: LayerCase, rng) -> None:
    module, network = case.torch(rng), case.numpy(np.float32)
    comparison = compare(module, network, case.inputs(rng, np.float32), name=str(case))
    assert comparison.passed, str(comparison)
    assert "three samples more with large values" in str(comparison)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", MODAL, ids=str)
def test_evaluation(case: LayerCase, dtype, rng) -> None:
    module, network, inputs = case.torch(rng), case.numpy(dtype), case.inputs(rng, dtype)
    comparison = compare(module, network, inputs, train=False, vary=False, name=str(case))
    assert comparison.passed, str(comparison)


@pytest.mark.parametrize("case", CONV[:3], ids=str)
def test_blank_images(case: LayerCase, rng) -> None:
    inputs = np.zeros(case.shape, np.float32)
    comparison = compare(case.torch(rng), case.numpy(np.float32), inputs, vary=False)
    assert comparison.passed, str(comparison)


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1e18])
@pytest.mark.parametrize("case", [c for c in LAYERS if c not in NON_FINITE][::7], ids=str)
def test_extreme_magnitudes(case: LayerCase, scale: float, rng) -> None:
    inputs = (case.inputs(rng, np.float64) * scale).astype(np.float32)
    comparison = compare(case.torch(rng), case.numpy(np.float32), inputs, vary=False)
    assert comparison.passed, str(comparison)
