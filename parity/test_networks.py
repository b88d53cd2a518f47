"""Every network, in both dtypes and modes: everything, with a random upstream and with a loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import numpy_models
import torch_models
from parity import assert_parity, to_numpy
from parity.networks import NetworkCase, network_cases

pytestmark = pytest.mark.kernels

CASES = network_cases()
VARIANTS = [
    *(NetworkCase(n, {"ties": "all"}, (1, 28, 28)) for n in ("lenet5_relu", "lenet5_bn")),
    NetworkCase("lenet5_variant", {"activation": "relu", "batch_norm": True}, (1, 32, 32)),
    NetworkCase(
        "lenet5_variant", {"activation": "silu", "batch_norm": True, "residual": True}, (1, 32, 32)
    ),
    NetworkCase("deepcnn21", {"ties": "all", "dropout": "inverted", "hidden": 7}, (1, 28, 28)),
]


def pair(case: NetworkCase, dtype):
    module = torch_models.build(case.name, **case.arguments)
    return module, numpy_models.build(case.name, **case.arguments).to(dtype)


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES + VARIANTS, ids=str)
def test_random_upstream_gradient(case: NetworkCase, dtype, train, rng) -> None:
    inputs = rng.standard_normal((5, *case.input)).astype(dtype)
    assert_parity(*pair(case, dtype), inputs, train=train, vary=False, name=str(case))


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES + VARIANTS, ids=str)
def test_with_the_loss(case: NetworkCase, dtype, train, rng) -> None:
    inputs = rng.random((6, *case.input)).astype(dtype)
    losses = {
        "torch_criterion": nn.CrossEntropyLoss(),
        "numpy_criterion": numpy_models.CrossEntropyLoss(),
    }
    targets = rng.integers(0, 10, 6)
    assert_parity(*pair(case, dtype), inputs, targets, train=train, vary=False, **losses)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_image(case: NetworkCase, rng) -> None:
    inputs = rng.standard_normal((1, *case.input)).astype(np.float32)
    assert_parity(*pair(case, np.float32), inputs, train=False, vary=False, name=str(case))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_predictions_are_the_largest_logit_in_evaluation_mode(case: NetworkCase, rng) -> None:
    module, network = pair(case, np.float64)
    module = module.double().eval()
    to_numpy(module, network)
    inputs = rng.standard_normal((4, *case.input))
    with torch.no_grad():
        expected = module(torch.from_numpy(inputs)).argmax(1).numpy()
    np.testing.assert_array_equal(numpy_models.outputs(network, inputs).argmax(1), expected)
