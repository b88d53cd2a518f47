"""Networks whose layers are right and that are put together wrongly, or otherwise but rightly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from numpy_models import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, Sequential
from parity import DisagreementError, ParityError, assert_parity, split
from parity.names import resolve


class Branches(nn.Module):
    """Two convolutions of the same images, added up."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 3, 3), nn.Conv2d(2, 3, 3)
        self.flatten, self.out = nn.Flatten(), nn.Linear(3 * 3 * 2, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.flatten(self.a(x) + self.b(x)))


class NumpyBranches:
    """The same, which takes b first, and adds something more."""

    def __init__(self, more: float) -> None:
        self.more = more
        self.layers = {
            "a": Conv2d(2, 3, 3),
            "b": Conv2d(2, 3, 3),
            "flatten": Flatten(),
            "out": Linear(3 * 3 * 2, 4),
        }

    def forward(self, x: np.ndarray) -> np.ndarray:
        b, a = self.layers["b"].forward(x), self.layers["a"].forward(x)
        return self.layers["out"].forward(
            self.layers["flatten"].forward(a + b + np.float32(self.more))
        )

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dy = self.layers["flatten"].backward(self.layers["out"].backward(dy))
        return self.layers["a"].backward(dy) + self.layers["b"].backward(dy)

    def _named(self, kind: str) -> dict[str, np.ndarray]:
        return {
            f"{layer}.{name}": array
            for layer, member in self.layers.items()
            for name, array in getattr(member, kind)().items()
        }

    def parameters(self) -> dict[str, np.ndarray]:
        return self._named("parameters")

    def gradients(self) -> dict[str, np.ndarray]:
        return self._named("gradients")

    def buffers(self) -> dict[str, np.ndarray]:
        return self._named("buffers")


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
