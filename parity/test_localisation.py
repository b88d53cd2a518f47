"""The guilty layer is named, and only the guilty one."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

import numpy_models
import torch_models
from numpy_models import AvgPool2d, BatchNorm2d, Conv2d, CrossEntropyLoss, Linear, MaxPool2d, ReLU
from parity import assert_parity, compare


def replace_class(network, layer: str, kind: type) -> None:
    """Turn one layer of a network into a faulty subclass of its class."""
    network.layers[layer].__class__ = kind


class FlippedKernel(Conv2d):
    def forward_batch_last(self, x):
        self._parameters["weight"][...] = self._parameters["weight"][:, :, ::-1, ::-1].copy()
        y = super().forward_batch_last(x)
        self._parameters["weight"][...] = self._parameters["weight"][:, :, ::-1, ::-1].copy()
        return y


class Accumulating(Linear):
    def backward_batch_last(self, dy, input_gradient=True):
        before = self._gradients["weight"].copy()
        dx = super().backward_batch_last(dy, input_gradient)
        self._gradients["weight"] += before
        return dx


class LeakyReLU(ReLU):
    def backward_batch_last(self, dy, input_gradient=True):
        return super().backward_batch_last(dy, input_gradient) + dy.dtype.type(1e-3) * dy


class BiasedRunningVariance(BatchNorm2d):
    def _track(self, mean, unbiased_variance):
        super()._track(mean, unbiased_variance * unbiased_variance.dtype.type(0.999))


class Updating(Linear):
    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        self._parameters["bias"] -= 0.01
        return dx


@pytest.mark.parametrize(
    ("name", "layer", "kind", "evidence"),
    [
        ("lenet5_relu", "c3", FlippedKernel, "output"),
        ("lenet5_relu", "c5", Accumulating, "gradient of weight"),
        ("lenet5_relu", "relu3", LeakyReLU, "gradient of input"),
        ("lenet5_bn", "bn2", BiasedRunningVariance, "running_var"),
        ("lenet5_avgpool", "f6", Updating, "changed by NumPy's forward or backward"),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_culprit_is_named_first_and_alone(name, layer, kind, evidence, dtype, rng) -> None:
    module, network = torch_models.build(name), numpy_models.build(name).to(dtype)
    replace_class(network, layer, kind)
    inputs = rng.standard_normal((4, 1, 28, 28)).astype(dtype)
    losses = {
        "torch_criterion": nn.CrossEntropyLoss(),
        "numpy_criterion": CrossEntropyLoss(),
    }
    with pytest.raises(AssertionError) as caught:
        assert_parity(module, network, inputs, rng.integers(0, 10, 4), name=name, **losses)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"culprit: {layer} (")
    assert evidence in lines[0]
    assert not lines[1].startswith("culprit")


def test_a_wrong_loss_is_the_culprit(rng) -> None:
    module, network = torch_models.build("lenet5_relu"), numpy_models.build("lenet5_relu")
    inputs = rng.standard_normal((4, 1, 28, 28)).astype(np.float32)
    losses = {
        "torch_criterion": nn.CrossEntropyLoss(),
        "numpy_criterion": CrossEntropyLoss(label_smoothing=1e-3),
    }
    with pytest.raises(AssertionError, match=r"\Aculprit: loss \(CrossEntropyLoss\)"):
        assert_parity(module, network, inputs, rng.integers(0, 10, 4), **losses)


def test_right_layers_in_a_wrong_order_are_told_apart(rng) -> None:
    module = nn.Sequential()
    module.add_module("relu", nn.ReLU())
    module.add_module("pool", nn.AvgPool2d(2))
    network = numpy_models.Sequential(pool=AvgPool2d(2), relu=ReLU())
    with pytest.raises(AssertionError, match=r"\Aculprit: relu, in whose place .* calls pool"):
        assert_parity(module, network, rng.standard_normal((3, 2, 6, 6)).astype(np.float32))


def test_pooling_ties_are_seen_by_value(rng) -> None:
    inputs = rng.integers(0, 2, (3, 2, 6, 6)).astype(np.float32)
    module = nn.Sequential(torch_models.MaxPool2d(2, ties="first"))
    network = numpy_models.Sequential(MaxPool2d(2, ties="all"))
    comparison = compare(module, network, inputs)
    assert [check.tensor for check in comparison.failures] == ["gradient of input"]
