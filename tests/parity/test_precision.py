"""Fewer bits and more: what is granted to 16 bits and int8, and float64 where float32 was asked."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from numpy_models import Linear, ReLU, Sequential
from parity import DisagreementError, ParityError, assert_parity, compare, precision
from parity.sides import TorchModule
from parity.task import Task

IMAGES = np.random.default_rng(0).random((6, 2, 8, 8), np.float32)
WORDS = np.random.default_rng(0).standard_normal((3, 7, 8)).astype(np.float32)
AUTOCAST = [
    ("bfloat16", {"autocast": torch.bfloat16}),
    ("float16", {"autocast": torch.float16}),
]


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.relu = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
        self.pool, self.flatten, self.out = nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)

    def forward(self, x):
        return self.out(self.flatten(self.pool(self.relu(self.bn(self.conv(x))))))


class Attending(nn.Module):
    """Its products are functions' and no layers'."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.mix, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x):
        q, k, v = self.mix(self.norm(x)).chunk(3, -1)
        h = nn.functional.scaled_dot_product_attention(q, k, v)
        return x + self.out(nn.functional.gelu(h))


class Scaled(nn.Linear):
    def forward(self, x):
        return super().forward(x) * 1.06


CASES = [(Convolutional, IMAGES), (Attending, WORDS)]


@pytest.mark.parametrize(("kind", "inputs"), CASES, ids=["convolutional", "attending"])
@pytest.mark.parametrize(("precision", "options"), AUTOCAST, ids=["bfloat16", "float16"])
def test_autocast(kind, inputs, precision, options) -> None:
    module = kind()
    held = assert_parity(module, TorchModule(module, **options), inputs, precision=precision)
    assert f"granted what computing in {precision} does" in str(held)
    strict = partial(compare, module, TorchModule(module, **options), inputs, vary=False)
    assert not strict().passed
    wrong = kind()
    wrong.load_state_dict(module.state_dict())
    wrong.out = Scaled(*reversed(module.out.weight.shape))
    with pytest.raises(DisagreementError) as caught:
        assert_parity(module, TorchModule(wrong, **options), inputs, precision=precision)
    assert caught.value.culprits == ["out"]


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("kind", "inputs"), CASES, ids=["convolutional", "attending"])
def test_modules_of_16_bits(kind, inputs, dtype, train) -> None:
    module = kind()
    side = TorchModule(kind().to(dtype))
    precision = str(dtype).removeprefix("torch.")
    assert_parity(module, side, inputs, train=train, precision=precision, vary=False)


def test_a_quantised_module_keeps_its_weights() -> None:
    module = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.ao.quantization.quantize_dynamic(module, {nn.Linear}, dtype=torch.qint8)
    inputs = np.random.default_rng(0).standard_normal((5, 16)).astype(np.float32)
    side = TorchModule(quantised, frozen=True)
    held = assert_parity(module, side, inputs, train=False, precision="int8")
    assert [check.tensor for check in held.checks] == ["output"]
    other = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8)).eval()
    other[0] = module[0]
    with pytest.raises(DisagreementError) as caught:
        assert_parity(other, side, inputs, train=False, precision="int8")
    assert caught.value.culprits == ["2"]


def test_an_unknown_precision_is_one_sentence() -> None:
    with pytest.raises(ParityError, match="no precision 'fp8': give one of tf32, bfloat16"):
        compare(nn.Linear(2, 2), Linear(2, 2), np.ones((1, 2), np.float32), precision="fp8")


class Wide(Linear):
    """Computes in float64, as np.zeros and Python's floats in arrays make one do."""

    factor = 1.0

    def forward(self, x):
        return super().forward(x).astype(np.float64) * self.factor


class WideAndWrong(Wide):
    factor = 1.01


class Stack:
    """numpy_models' layers, called one by one."""

    def __init__(self, *layers) -> None:
        self.inner = Sequential(*layers)
        self.layers = self.inner.layers

    def forward(self, x):
        for layer in self.layers.values():
            x = layer.forward(x.astype(np.float32)).astype(x.dtype)
        return x.astype(np.float64)

    def backward(self, dy):
        for layer in reversed(self.layers.values()):
            dy = layer.backward(dy)
        return dy

    def __getattr__(self, name):
        if name.startswith("__") or name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)


def test_float64_for_float32_is_one_finding() -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    inputs = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    with pytest.raises(DisagreementError) as caught:
        assert_parity(module, Stack(Wide(4, 5), ReLU(), Wide(5, 3)), inputs)
    assert caught.value.culprits == ["dtype"]
    assert len(caught.value.finding.failures) == 1
    with pytest.raises(DisagreementError) as caught:
        assert_parity(module, Stack(Wide(4, 5), ReLU(), WideAndWrong(5, 3)), inputs)
    assert caught.value.culprits == ["2"]
    assert "error" in str(caught.value).splitlines()[0]


@pytest.mark.parametrize(
    ("name", "epsilon", "given", "rounded"),
    [
        ("tf32", 2**-10, 1 + 2**-11 + 2**-20, 1 + 2**-10),
        ("tf32", 2**-10, 1 + 2**-11, 1.0),  # ties to even
        ("tf32", 2**-10, -3 - 3 * 2**-10, -3 - 4 * 2**-10),
        ("bfloat16", 2**-7, 1 + 2**-8, 1.0),
        ("bfloat16", 2**-7, 1 + 3 * 2**-8, 1 + 2**-6),
        ("float16", 2**-10, 1 + 3 * 2**-11, 1 + 2**-9),
        ("int8", 1 / 127, 0.5, 0.5 * 128 / 127),
    ],
)
def test_formats_round_to_their_nearest(name, epsilon, given, rounded) -> None:
    kind = precision.format_of(name)
    assert kind.epsilon == pytest.approx(epsilon, rel=1e-12)
    x = torch.tensor([given, 1.0], dtype=torch.float64)  # int8's grid is that of the largest
    assert kind.round(x)[0].item() == pytest.approx(rounded, rel=1e-12)
    assert (kind.round(x) - x).abs().le(kind.half_unit(x)).all()
    assert kind.stored is (name != "tf32")


def test_formats_at_the_edges() -> None:
    tf32, bf16, int8 = (precision.format_of(name) for name in ("tf32", "bfloat16", "int8"))
    edges = torch.tensor([0.0, torch.inf, -torch.inf], dtype=torch.float64)
    assert torch.equal(tf32.round(edges), edges)
    assert tf32.round(torch.tensor([torch.nan], dtype=torch.float64)).isnan().all()
    assert bf16.half_unit(edges)[0] > 0  # the least number of the format rounds too
    zeros = torch.zeros(3, dtype=torch.float64)
    assert torch.equal(int8.round(zeros), zeros)
    assert int8.half_unit(zeros).shape == (3,)
    assert int8.half_unit(zeros[:0]).shape == (0,)
    task = Task(np.zeros((1, 2), np.float32))
    assert precision.epsilon_of(task) == np.finfo(np.float32).eps
