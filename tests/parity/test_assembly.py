"""Networks whose layers are right and that are put together wrongly, or otherwise but rightly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from numpy_models import (
    BatchNorm2d,
    Conv2d,
    CrossEntropyLoss,
    Dropout,
    Flatten,
    Linear,
    Sequential,
)
from parity import DisagreementError, ParityError, assert_parity, split
from parity.assertions import compare_loss
from parity.comparison import CHANGED
from parity.names import resolve
from tests.parity.handwritten import Chain, Line


class Branches(nn.Module):
    """Two convolutions of the same images, added up."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 3, 3), nn.Conv2d(2, 3, 3)
        self.flatten, self.out = nn.Flatten(), nn.Linear(3 * 3 * 2, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.flatten(self.a(x) + self.b(x)))


class NumpyBranches(Chain):
    """The same, which takes b first, and adds something more."""

    def __init__(self, more: float) -> None:
        flatten, out = Flatten(), Linear(3 * 3 * 2, 4)
        super().__init__(a=Conv2d(2, 3, 3), b=Conv2d(2, 3, 3), flatten=flatten, out=out)
        self.more, self.layers = np.float32(more), self.parts

    def forward(self, x: np.ndarray) -> np.ndarray:
        b, a = self.layers["b"].forward(x), self.layers["a"].forward(x)
        return self.layers["out"].forward(self.layers["flatten"].forward(a + b + self.more))

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dy = self.layers["flatten"].backward(self.layers["out"].backward(dy))
        return self.layers["a"].backward(dy) + self.layers["b"].backward(dy)


def images() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((5, 2, 5, 4)).astype(np.float32)


def test_branches_may_be_taken_in_any_order() -> None:
    assert_parity(Branches(), NumpyBranches(0), images())
    with pytest.raises(DisagreementError) as caught:
        assert_parity(Branches(), NumpyBranches(1), images())
    assert "in whose place" not in str(caught.value)
    assert "such as a sum" in str(caught.value)


class Stuck(Sequential):
    """A network that leaves its mode to its layers."""

    def train(self, mode: bool = True):
        return self

    eval = train


@pytest.mark.parametrize("train", [True, False])
def test_a_network_that_keeps_its_mode_is_told(train) -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    network = Stuck(Conv2d(2, 3, 3), BatchNorm2d(3))
    Sequential.train(network, not train)
    network.training = not train
    with pytest.raises(DisagreementError) as caught:
        assert_parity(module, network, images(), train=train)
    method, now = ("train", "evaluation") if train else ("eval", "training")
    assert caught.value.culprits == [method]
    assert f"{method}, after which the NumPy network is still in {now} mode" in str(caught.value)


def test_parts_of_unlike_sizes() -> None:
    module = nn.Linear(3, 9)
    names = resolve({"weight": split("a", ("b", "T"), "c", sizes=(2, 4, 3))}, module)
    weight = module.weight.detach().numpy()
    parts = names.to_other({"weight": weight})
    for name, expected in (("a", weight[:2]), ("b", weight[2:6].T), ("c", weight[6:])):
        np.testing.assert_array_equal(parts[name], expected)
    np.testing.assert_array_equal(names.to_torch(parts)["weight"], weight)
    wide = resolve({"weight": split("a", "b", axis=1, sizes=(1, 2))}, module)
    np.testing.assert_array_equal(wide.to_other({"weight": weight})["b"], weight[:, 1:])
    with pytest.raises(ParityError, match=r"sizes=\[2, 4\] add up to 6, and the axis has 9"):
        resolve({"weight": split("a", "b", sizes=(2, 4))}, module).to_other({"weight": weight})


def test_an_onnx_file_that_cannot_be_read_has_its_name(tmp_path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
    from parity.sides import OnnxFile

    path = tmp_path / "net.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(ParityError, match=r"onnxruntime cannot read .*net\.onnx: "):
        OnnxFile(path)
    with pytest.raises(ParityError, match="onnxruntime cannot read the model: "):
        OnnxFile(b"no model")


def test_masks_that_only_one_side_draws_are_told() -> None:
    class Own(Dropout):
        """One that is not told what to draw."""

        def uniforms(self, shape):
            return np.random.default_rng().random(shape, np.float32)

    module = nn.Sequential(nn.Flatten(), nn.Linear(40, 30), nn.Dropout(0.5))
    network = Sequential(Flatten(), Linear(40, 30), Own(0.5))
    with pytest.raises(DisagreementError, match=r"culprit: 2 \(Dropout\)|random numbers"):
        assert_parity(module, network, images())


class Intruding(Line):
    """One that may also change an array of another's."""

    method, array = "", np.zeros(0)

    def forward(self, x):
        if self.method == "forward":
            self.array *= 1.01
        return super().forward(x)

    def backward(self, dy):
        if self.method == "backward":
            self.array += 1
        return super().backward(dy)


class Assembled(Chain):
    """Two layers, put together with one fault."""

    def __init__(self, fault: str) -> None:
        self.fault, self.last, self.first_x = fault, 0.0, None
        first, second = Intruding(4, 4), Intruding(4, 3)
        super().__init__(first=first, second=second)
        self.layers = self.parts
        if fault == "a forward that changes a weight":
            second.method, second.array = "forward", first.w
        if fault == "a backward that changes a gradient":
            first.method, first.array = "backward", second.db

    def forward(self, x):
        first, second = self.layers.values()
        if self.fault == "a constant":
            self.first_x = x.copy() if self.first_x is None else self.first_x
            x = self.first_x
        h = first.forward(x)
        if self.fault == "calls":
            h, self.last = h + self.last, float(x[0, 0])
        if self.fault == "noise":
            h = h + np.random.default_rng().standard_normal(h.shape)
        return second.forward(h)

    def backward(self, dy):
        first, second = self.layers.values()
        dh = second.backward(dy)
        if self.fault == "a backward that is not called":
            return dh @ first.w
        return first.backward(dh)

    def gradients(self):
        found = self._named("gradients")
        if self.fault == "a gradient of another":
            found["second.weight"] = found["second.weight"] * 2
        return found


@pytest.mark.parametrize(
    ("fault", "culprit", "words"),
    [
        (
            "a forward that changes a weight",
            "second",
            "second, whose forward changes first's weight",
        ),
        (
            "a backward that changes a gradient",
            "first",
            "first, whose backward changes second's gradient of bias",
        ),
        (
            "a gradient of another",
            "second.weight",
            "second.weight, under which the network's gradients() shows other numbers than the",
        ),
        (
            "a backward that is not called",
            "first",
            "first, whose backward the NumPy network never calls",
        ),
        ("calls", "calls", "calls, of which one changes the next one's output"),
        ("a constant", "calls", "calls, which give the same output whatever the inputs"),
        ("noise", "random numbers", "random numbers, which the NumPy network draws anew"),
    ],
)
def test_what_is_put_together_wrongly_has_its_sentence(fault, culprit, words) -> None:
    module = nn.Sequential()
    module.add_module("first", nn.Linear(4, 4))
    module.add_module("second", nn.Linear(4, 3))
    inputs = np.random.default_rng(0).standard_normal((5, 4))
    assert_parity(module, Assembled("none"), inputs)
    with pytest.raises(DisagreementError) as caught:
        assert_parity(module, Assembled(fault), inputs)
    assert str(caught.value).startswith(f"culprit: {words}")
    assert caught.value.culprits == [culprit]


def test_a_loss_that_changes_its_targets_is_told() -> None:
    class Careless(CrossEntropyLoss):
        def backward(self) -> np.ndarray:
            dy = super().backward()
            self._saved[1][:] = 0
            return dy

    logits = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    verdicts = [
        compare_loss(nn.CrossEntropyLoss(), loss(), logits, np.array([1, 2, 3, 0, 1, 2]))
        for loss in (CrossEntropyLoss, Careless)
    ]
    assert [verdict.passed for verdict in verdicts] == [True, False]
    assert ("targets", CHANGED) in [(each.tensor, each.note) for each in verdicts[1].failures]


def test_a_gradient_that_is_not_computed_again_is_told() -> None:
    """The first backward computes all gradients, a later one no longer the bias's."""

    class Tired(Sequential):
        calls = 0

        def backward(self, dy: np.ndarray) -> np.ndarray | None:
            self.calls += 1
            return super().backward(dy)

        def gradients(self) -> dict[str, np.ndarray]:
            found = super().gradients()
            return found if self.calls < 3 else {k: v for k, v in found.items() if k != "0.bias"}

    module = nn.Sequential(nn.Linear(5, 3))
    x = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    assert_parity(module, Sequential(Linear(5, 3)), x)
    with pytest.raises(DisagreementError, match="bias"):
        assert_parity(module, Tired(Linear(5, 3)), x)
