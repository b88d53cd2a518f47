"""What rounding decides is told from what is wrong, and nothing passes for want of a judge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from numpy_models import BatchNorm2d, Conv2d, MaxPool2d, ReLU, Sequential
from parity import assert_parity, compare, networks
from parity.faults.pooling import LastTie
from parity.faults.rewrites import RoundedEitherWay

GREY = np.full((3, 1, 10, 10), 0.7, np.float32)


class Functional(nn.Module):
    """A network that pools outside of any layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(F.relu(self.conv(x)), 2).flatten(1)


class Opaque:
    """The same in NumPy, with no layer to be seen; its convolution rounds unlike torch's."""

    def __init__(self, factor: float = 1.0) -> None:
        self.head = Sequential(conv=RoundedEitherWay(1, 4, 3))
        self.tail = Sequential(ReLU(), MaxPool2d(2))
        self.factor = factor
        self.parameters, self.gradients = self.head.parameters, self.head.gradients
        self.buffers = self.head.buffers

    def forward(self, x):
        y = self.tail.forward(self.head.forward(x))
        self.shape = y.shape
        return y.reshape(len(y), -1)

    def backward(self, dy):
        between: Any = self.tail.backward(dy.reshape(self.shape))
        dx: Any = self.head.backward(between)
        return dx * dx.dtype.type(self.factor)


def test_the_verdict_says_where_rounding_decided() -> None:
    pair = networks.pair("lenet5_bn")
    network: Any = pair.numpy_network
    for layer in network.layers.values():
        if type(layer) is Conv2d:
            layer.__class__ = RoundedEitherWay
    grey = np.full_like(pair.inputs, 0.7)
    comparison = assert_parity(pair.torch_module, pair.numpy_network, grey, train=False)
    decided = {decision.operation: decision for decision in comparison.decisions}
    assert decided["s2"].what == "window"
    assert 0 <= decided["s2"].margin < decided["s2"].granted < 1e-5
    assert "gradient of input" in comparison.undecided
    assert f"rounding decides {decided['s2'].count} windows of s2 (margin" in str(comparison)
    assert "agrees in each layer alone and on random inputs" in str(comparison)


def test_a_decision_outside_of_the_layers_is_named_as_not_judged_alone() -> None:
    network = Opaque()
    alone = {"conv": network.head.layers["conv"]}
    told = str(assert_parity(Functional(), network, GREY, layers=alone))
    assert "windows of max_pool2d after conv" in told
    assert "agrees in each layer alone and on random inputs; max_pool2d after conv could" in told
    assert "agrees on random inputs; max_pool2d" in str(assert_parity(Functional(), network, GREY))


@pytest.mark.parametrize("factor", [0.0, 1.001])
def test_a_gradient_that_could_be_anything_on_grey_is_held_on_random_inputs(factor) -> None:
    comparison = compare(Functional(), Opaque(factor=factor), GREY)
    assert {c.network for c in comparison.failures} == {"Functional on random inputs"}


def test_what_ties_before_anything_rounds_is_held_exactly(rng) -> None:
    module = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(1, 2, 3))
    pixels = rng.integers(0, 2, (3, 1, 12, 12)).astype(np.float32)
    comparison = compare(module, Sequential(LastTie(2), Conv2d(1, 2, 3)), pixels)
    assert [check.tensor for check in comparison.failures] == ["gradient of input"]
    assert not comparison.decisions


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_mean_of_equal_values_may_round(dtype) -> None:
    """Torch's happens to be exact, and the bias before has a true gradient of zero."""
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    for level in np.linspace(0.1, 0.9, 9):
        network = Sequential(Conv2d(1, 4, 3), BatchNorm2d(4), ReLU()).to(dtype)
        comparison = compare(module, network, np.full((3, 1, 14, 14), level, dtype), vary=False)
        assert comparison.passed, str(comparison)
