"""The guilty layer is named, and only the guilty one; the tool serves strangers' networks too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import numpy_models
import torch_models
from numpy_models import AvgPool2d, BatchNorm2d, Conv2d, CrossEntropyLoss, Linear, MaxPool2d, ReLU
from parity import (
    Pair,
    ParityError,
    Trajectory,
    assert_parity,
    assert_trajectory,
    compare,
    localise,
)
from parity.networks import pair, recipe


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


class StudentLinear:
    """A stranger's layer: only the documented protocol, nothing of this project."""

    def __init__(self, scale: float = 1.0) -> None:
        self.w, self.b, self.scale = np.ones((3, 4)), np.zeros(3), scale

    def forward(self, x):
        self.x = x
        return x @ self.w.T + self.b

    def backward(self, dy):
        self.dw, self.db = dy.T @ self.x * self.scale, dy.sum(0)
        return dy @ self.w

    def parameters(self):
        return {"weight": self.w, "bias": self.b}

    def gradients(self):
        return {"weight": self.dw, "bias": self.db}

    def buffers(self):
        return {}


def test_a_strangers_layer(assert_parity, rng) -> None:
    assert_parity(nn.Linear(4, 3), StudentLinear(), rng.standard_normal((5, 4)))
    with pytest.raises(AssertionError, match="gradient of weight: worst at"):
        assert_parity(nn.Linear(4, 3), StudentLinear(1.001), rng.standard_normal((5, 4)))


class StudentStack:
    def __init__(self, *scales: float) -> None:
        self.parts = [StudentLinear(s) for s in scales]
        self.parts[1].w, self.parts[1].b = np.ones((2, 3)), np.zeros(2)

    def forward(self, x):
        return self.parts[1].forward(self.parts[0].forward(x))

    def backward(self, dy):
        return self.parts[0].backward(self.parts[1].backward(dy))

    def _named(self, method):
        parts = dict(zip(["first", "second"], self.parts, strict=True))
        return {
            f"{part}.{name}": array
            for part, layer in parts.items()
            for name, array in getattr(layer, method)().items()
        }

    def parameters(self):
        return self._named("parameters")

    def gradients(self):
        return self._named("gradients")

    def buffers(self):
        return {}


def test_a_strangers_network_with_a_mapping_of_layers(rng) -> None:
    module = nn.Sequential()
    module.add_module("first", nn.Linear(4, 3))
    module.add_module("second", nn.Linear(3, 2))
    network, inputs = StudentStack(1.0, 1.001), rng.standard_normal((5, 4))
    layers = dict(zip(["first", "second"], network.parts, strict=True))
    with pytest.raises(AssertionError, match=r"\Aculprit: second \(Linear\)"):
        assert_parity(module, network, inputs, layers=layers)
    with pytest.raises(AssertionError, match=r"\Aculprit: second, the only place that is wrong"):
        assert_parity(module, network, inputs)
    with pytest.raises(ParityError, match="pass layers="):
        localise(module, network, inputs)
    for name, layer in layers.items():
        setattr(network, name, layer)
    with pytest.raises(AssertionError, match=r"\Aculprit: second \(Linear\)"):
        assert_parity(module, network, inputs)


@pytest.mark.parametrize(
    ("module", "network", "inputs", "message"),
    [
        (nn.Linear(4, 3), object(), np.ones((2, 4)), "needs the methods forward, parameters"),
        (nn.Linear(4, 3), StudentLinear(), np.ones((2, 4), np.float32), "inputs are float32 but"),
        (
            nn.Linear(4, 3),
            StudentLinear(),
            np.ones((2, 4), np.float16),
            "must be a float32 or float64",
        ),
        (nn.Linear(4, 3), StudentLinear(), np.ones((2, 4), int), "cannot run on inputs of shape"),
        (nn.Linear(4, 3), StudentLinear(), np.full((2, 4), np.nan), "nothing would be compared"),
        (nn.Linear(4, 2), StudentLinear(), np.ones((2, 4)), "weight has shape"),
        (nn.Dropout(), StudentLinear(), np.ones((2, 4)), "weight is only in NumPy"),
    ],
)
def test_bad_input_is_one_sentence(module, network, inputs, message) -> None:
    with pytest.raises(ParityError, match=message) as caught:
        compare(module, network, inputs)
    assert "\n" not in str(caught.value)


def test_tensors_are_taken_for_their_numbers() -> None:
    made, again = pair("example_unit"), pair("example_unit")
    inputs = torch.from_numpy(made.inputs).requires_grad_()
    targets = torch.from_numpy(made.targets)
    assert type(Pair(made.torch_module, made.numpy_network, inputs, targets).inputs) is np.ndarray
    losses = {n: getattr(made, n) for n in ("torch_criterion", "numpy_criterion")}
    for judge in (assert_parity, compare, localise, train):
        told = [
            str(judge(each.torch_module, each.numpy_network, *given, **losses))
            for each, given in [(made, (made.inputs, made.targets)), (again, (inputs, targets))]
        ]
        assert told[0] == told[1], judge


def train(module, network, inputs, targets, **_: object) -> Trajectory:
    how = recipe("SGD", {"lr": 0.1})
    return assert_trajectory(module, network, [(inputs, targets)], how, probes=1)


def test_a_tensor_numpy_cannot_hold_is_one_sentence() -> None:
    half = torch.ones(2, 4, dtype=torch.bfloat16)
    with pytest.raises(ParityError, match=r"cannot hold a tensor of torch\.bfloat16: give one of"):
        compare(nn.Linear(4, 3), StudentLinear(), half)


def test_unused_parameter_is_one_sentence(rng) -> None:
    class Unused(nn.Linear):
        def forward(self, x):
            return x @ self.weight.T

    with pytest.raises(ParityError, match="torch gives no gradient for bias"):
        compare(Unused(4, 3), StudentLinear(), rng.standard_normal((2, 4)))


def test_a_mutated_input_and_a_wrong_dtype_are_reported(rng) -> None:
    class Rude(StudentLinear):
        def forward(self, x):
            y = super().forward(x.copy())
            x += 1
            return y.astype(np.float32)

    notes = {c.tensor: c.note for c in compare(nn.Linear(4, 3), Rude(), np.ones((2, 4))).failures}
    assert "changed" in notes["inputs"]
    assert "dtype float64 in torch, float32 in NumPy" in notes["output"]
