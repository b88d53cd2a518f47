"""Pairs as people have them: several inputs, tuple outputs, no backward, torch's own random draws,
layers that are no chain; each is judged, or refused in one sentence.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from numpy_models import BatchNorm2d, Conv2d, Dropout, Linear, ReLU, Sequential
from parity import DisagreementError, ParityError, assert_parity, compare, localise
from tests.parity.mirror import Mirror


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


class Positions(nn.Module):
    """Parameters of its own, and a child."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Parameter(torch.randn(5, 4)), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x + self.table)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(4, 3, batch_first=True), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(x)[0])


class Language(nn.Module):
    """Token ids, tied weights and the constants of a cell written out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.cell = nn.Embedding(7, 4), nn.GRUCell(4, 4)
        self.out = nn.Linear(4, 7)
        self.out.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        h = torch.zeros(len(tokens), 4)
        for t in range(tokens.shape[1]):
            h = self.cell(self.embedding(tokens[:, t]), h)
        return self.out(h) * torch.tensor(0.1)


class Odd(nn.Module):
    """A submodule called by keyword and twice, a bool buffer, a compiled part, a 0-d output."""

    def __init__(self, compiled: bool = True) -> None:
        super().__init__()
        self.relu, self.a, self.b = nn.ReLU(inplace=True), nn.Linear(4, 4), nn.Sequential(nn.Tanh())
        if compiled:
            self.b = torch.compile(self.b, backend="eager")
        self.register_buffer("mask", torch.tensor([True, False, True, True]))

    def forward(self, x: Tensor) -> Tensor:
        return (self.b(self.relu(self.a(input=self.relu(self.a(x))))) * self.mask).sum()


class Packed(nn.Module):
    """Sequences of several lengths, an integer input beside a floating-point one."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(4, 3, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.rnn(packed)[0], batch_first=True)[0]


class Attention(nn.Module):
    """Inputs by keyword, a mask without a gradient, a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, q: Tensor, kv: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        y, weights = self.attention(q, kv, kv, attn_mask=mask)
        return {"y": y, "weights": weights}


torch.manual_seed(0)
ORDINARY: dict[str, tuple[nn.Module, Any]] = {
    "attention": (nn.MultiheadAttention(8, 2), (normal(5, 2, 8),) * 3),
    "attention by keyword": (
        Attention(),
        {"q": normal(2, 5, 8), "kv": normal(2, 6, 8), "mask": np.tri(5, 6, 1) < 1},
    ),
    "encoder": (nn.TransformerEncoderLayer(8, 2, 16, 0.0), normal(5, 2, 8)),
    "weight_norm": (nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), normal(5, 4)),
    "positions": (Positions(), normal(3, 5, 4)),
    "recurrent": (Recurrent(), normal(2, 6, 4)),
    "LSTM with a state": (
        nn.LSTM(4, 3),
        (normal(6, 2, 4), (normal(1, 2, 3), normal(1, 2, 3))),
    ),
    "language": (Language(), np.arange(15).reshape(3, 5) % 7),
    "sparse gradient": (nn.Embedding(7, 3, sparse=True), np.arange(8).reshape(2, 4) % 7),
    "packed": (Packed(), (normal(3, 5, 4), np.array([5, 2, 3]))),
    "odd": (Odd(), normal(5, 4)),
}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def mirror(module: nn.Module) -> Mirror:
    return Mirror(Odd(compiled=False) if isinstance(module, Odd) else module)


class Spoilt(Mirror):
    """Every output 1 % too large."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        y = super().forward(*args, **kwargs)
        self.y = torch.utils._pytree.tree_map(lambda leaf: leaf * 1.01, self.y)
        return torch.utils._pytree.tree_map(lambda leaf: np.float32(1.01) * leaf, y)


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_modules_are_judged(name) -> None:
    module, inputs = ORDINARY[name]
    assert_parity(module, mirror(module), inputs)
    network = mirror(module)
    for layer, child in network.module.named_children():
        setattr(network, layer, Mirror(child))
    network.__class__ = Spoilt
    with pytest.raises(DisagreementError, match=r"\Aculprit: "):
        assert_parity(module, network, inputs)


def test_tied_gradients_may_come_under_either_name_or_both() -> None:
    class Shares(Mirror):
        def gradients(self):
            own = super().gradients()
            own["out.weight"] = own["embedding.weight"] * 0.25
            own["embedding.weight"] *= 0.75
            return own

    class Second(Mirror):
        def gradients(self):
            own = super().gradients()
            own["out.weight"] = own.pop("embedding.weight")
            return own

    module, tokens = ORDINARY["language"]
    for kind in (Shares, Second):
        assert_parity(module, kind(module), tokens)
    first = kind(module)
    first.parameters = lambda: {
        n: p for n, p in Mirror.parameters(first).items() if n != "out.weight"
    }
    first.buffers = lambda: None
    assert_parity(module, first, tokens)


def test_gradients_are_asked_for_after_backward_only() -> None:
    assert_parity(nn.Linear(4, 3), Late(nn.Linear(4, 3)), normal(5, 4))


class Locked(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 3)
        self.lock = threading.Lock()


class Late(Mirror):
    """Has no gradients before its first backward."""

    def gradients(self):
        if not hasattr(self, "y"):
            raise RuntimeError("run backward first")
        return super().gradients()


class Noisy(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.randn(3, dtype=x.dtype)


class Overwritten(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).sigmoid_().add_(1)


class Complex(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft(super().forward(x))


@pytest.mark.parametrize(
    ("module", "network", "inputs", "sentence"),
    [
        (Locked(), Linear(4, 3), normal(5, 4), "Locked cannot be copied"),
        (nn.LazyLinear(3), Linear(4, 3), normal(5, 4), "weight of torch's LazyLinear has no shape"),
        (Noisy(4, 3), Linear(4, 3), normal(5, 4), "gives another output each time it is run"),
        (nn.LSTM(4, 3, 2, dropout=0.5), Linear(4, 3), normal(5, 2, 4), "another output each time"),
        (nn.Linear(4, 3), Linear(4, 3), {"x": "text"}, "must be a float32 or float64 array"),
        (Overwritten(4, 3), Linear(4, 3), normal(5, 4), "torch's side cannot be run backward"),
        (Complex(4, 3), Linear(4, 3), normal(5, 4), "Complex returns complex numbers"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(module, network, inputs, sentence) -> None:
    with pytest.raises(ParityError, match=sentence) as caught:
        assert_parity(module, network, inputs)
    assert "\n" not in str(caught.value)


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.drop = nn.Linear(4, 6), nn.Dropout(0.4)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.drop(self.a(x)), 0.2, self.training)


def test_masks_of_torchs_own_dropout_are_shared() -> None:
    def network(*layers):
        return Sequential(**dict(zip(["a", "drop", "functional"], layers, strict=False)))

    right = network(Linear(4, 6), Dropout(0.4), Dropout(0.2))
    assert_parity(Dropping(), right, normal(5, 4))
    with pytest.raises(DisagreementError):
        assert_parity(Dropping(), network(Linear(4, 6), Dropout(0.4)), normal(5, 4))
    assert_parity(Dropping(), network(Linear(4, 6), Dropout(0.4)), normal(5, 4), train=False)


def test_a_budget_that_would_let_anything_pass_is_no_pass() -> None:
    class Chaos(nn.Linear):
        """The logistic map, which doubles an error at every step."""

        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x).sigmoid()
            for _ in range(40):
                y = 4 * y * (1 - y)
            return y

    with pytest.raises(ParityError, match=r"\Acannot be judged in float32: .* rounding is granted"):
        assert_parity(Chaos(4, 3), Mirror(Chaos(4, 3)), normal(5, 4))


class Inference:
    """No backward, and so no gradients."""

    backward = None

    def __init__(self, factor: float = 1.0) -> None:
        self.layer, self.factor = Linear(4, 3), np.float32(factor)
        self.parameters, self.buffers = self.layer.parameters, self.layer.buffers

    def forward(self, x):
        return self.layer.forward(x) * self.factor


@pytest.mark.parametrize("train", [True, False])
def test_a_side_without_backward_is_judged_forward_only(train) -> None:
    told = str(assert_parity(nn.Linear(4, 3), Inference(), normal(5, 4), train=train))
    assert "forward only: Inference has no backward" in told
    assert "1 tensors agree" in told
    with pytest.raises(DisagreementError):
        assert_parity(nn.Linear(4, 3), Inference(1.001), normal(5, 4), train=train)


def test_a_layer_without_a_backward_in_evaluation_mode_is_judged_forward() -> None:
    class Training(BatchNorm2d):
        def backward(self, dy, input_gradient=True):
            if not self.training:
                raise NotImplementedError
            return super().backward(dy, input_gradient)

    told = [
        str(assert_parity(nn.BatchNorm2d(2), Training(2), normal(3, 2, 4, 4), train=train))
        for train in (True, False)
    ]
    assert "forward only" not in told[0]
    assert "forward only: Training.backward is not implemented in evaluation mode" in told[1]


def test_inputs_stay_in_the_range_of_the_users() -> None:
    class Pixels(Linear):
        def forward(self, x):
            assert x.min() >= 0, "a pixel below 0"
            assert x.max() <= 1, "a pixel above 1"
            return super().forward(x)

    pixels = np.random.default_rng(0).random((5, 4), np.float32)
    assert_parity(nn.Linear(4, 3), Pixels(4, 3), pixels)


class Single(nn.Linear):
    """A float32 softmax inside."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).float().softmax(-1).type_as(x)


def test_a_module_without_a_float64_reference_is_no_ones_fault() -> None:
    class Double(nn.Linear):
        factor = 1.0

        def forward(self, x):
            return super().forward(x).softmax(-1) * self.factor

    inputs = normal(5, 4).astype(np.float64)
    with pytest.raises(ParityError, match=r"less than double precision inside \(to_copy"):
        assert_parity(Single(4, 3), Mirror(Double(4, 3).double()), inputs)
    Double.factor = 1.1
    with pytest.raises(DisagreementError):
        assert_parity(Single(4, 3), Mirror(Double(4, 3).double()), inputs)


class Chain:
    """A stranger's network of layers under torch's names; `between` changes what passes."""

    def __init__(self, **layers: Any) -> None:
        self.__dict__.update(layers)
        self.chain = layers

    def forward(self, x):
        for layer in self.chain.values():
            x = layer.forward(x)
        return x

    def backward(self, dy):
        for layer in reversed(self.chain.values()):
            dy = layer.backward(dy)
        return dy

    def _named(self, method):
        return {
            f"{name}.{key}": array
            for name, layer in self.chain.items()
            for key, array in (getattr(layer, method)() or {}).items()
        }

    def parameters(self):
        return self._named("parameters")

    def gradients(self):
        return self._named("gradients")

    def buffers(self):
        return self._named("buffers")


class Affine:
    def __init__(self, fan_in: int, fan_out: int, offset: float = 0.0) -> None:
        self.w, self.b = np.ones((fan_out, fan_in), np.float32), np.zeros(fan_out, np.float32)
        self.offset = np.float32(offset)

    def forward(self, x):
        self.x = x
        return x @ self.w.T + self.b + self.offset

    def backward(self, dy):
        self.dw, self.db = dy.T @ self.x, dy.sum(0)
        return dy @ self.w

    def parameters(self):
        return {"weight": self.w, "bias": self.b}

    def gradients(self):
        return {"weight": self.dw, "bias": self.db}

    def buffers(self):
        return None


class Rectifier:
    def forward(self, x):
        self.mask = x > 0
        return x * self.mask

    def backward(self, dy):
        return dy * self.mask

    def parameters(self):
        return None

    gradients = buffers = parameters


class InPlace(Rectifier):
    def forward(self, x):
        self.mask = x > 0
        x *= self.mask
        return x


class Returning(Rectifier):
    def backward(self, dy):
        self.dx = dy * self.mask


def chain(r: Any, b: Any) -> tuple[nn.Module, Chain]:
    module = nn.Sequential()
    for name, layer in {"a": nn.Linear(4, 5), "r": nn.ReLU(), "b": nn.Linear(5, 3)}.items():
        module.add_module(name, layer)
    return module, Chain(a=Affine(4, 5), r=r, b=b)


def culprits(module: nn.Module, network: Any) -> list[str]:
    with pytest.raises(DisagreementError) as caught:
        assert_parity(module, network, normal(6, 4))
    return caught.value.culprits


def test_a_layer_that_only_works_in_place_is_not_accused_of_anothers_mistake() -> None:
    assert culprits(*chain(InPlace(), Affine(5, 3, offset=0.1))) == ["b"]
    assert_parity(*chain(InPlace(), Affine(5, 3)), normal(6, 4))


def test_one_layer_that_returns_none_does_not_end_the_search() -> None:
    module, network = chain(Returning(), Affine(5, 3, offset=0.1))
    assert culprits(module, network) == ["r", "b"]
    network.r = object()
    assert [probe.layer for probe in localise(module, network, normal(6, 4))] == ["a", "b"]


class Overwriting(Affine):
    """Right by itself; what it changes belongs to another layer."""

    def forward(self, x):
        y = super().forward(x.copy())
        x[...] = 0
        return y


class Meddling(Affine):
    victim: Any = None

    def backward(self, dy):
        if self.victim is not None:
            self.victim.db[...] = 0
        return super().backward(dy)


def test_who_changes_anothers_arrays_is_accused() -> None:
    class Keeping(Rectifier):
        """Keeps its output, as tanh does."""

        def forward(self, x):
            self.mask = super().forward(x)
            return self.mask

        def backward(self, dy):
            return dy * (self.mask > 0)

    assert culprits(*chain(Keeping(), Overwriting(5, 3))) == ["b"]
    module, network = chain(Rectifier(), Affine(5, 3))
    network.a = network.chain["a"] = Meddling(4, 5)
    network.a.victim = network.b
    assert culprits(module, network) == ["a"]


def test_what_the_network_does_itself_and_rightly_is_no_missing_layer() -> None:
    class Inline(Chain):
        def forward(self, x):
            h = self.a.forward(x)
            self.mask = h > 0
            return self.b.forward(h * self.mask) + np.float32(0.1)

        def backward(self, dy):
            return self.a.backward(self.b.backward(dy) * self.mask)

    module, network = chain(Rectifier(), Affine(5, 3))
    network.__class__ = Inline
    assert "r" not in culprits(module, network)


def test_variations_are_listed_and_find_what_one_input_hides() -> None:
    class Square(Conv2d):
        """Right on square images."""

        def backward(self, dy, input_gradient=True):
            dx = super().backward(dy, input_gradient)
            return dx if dx.shape[2] == dx.shape[3] else dx[..., ::-1].copy()

    class One(ReLU):
        """The batch axis is lost where it is 1."""

        def forward(self, x):
            y = super().forward(x)
            return y[0] if len(y) == 1 else y

    images = normal(3, 2, 6, 6)
    told = str(assert_parity(nn.Conv2d(2, 3, 3), Conv2d(2, 3, 3), images))
    assert "upstream gradient × 1024; after two calls of forward, the weights changed" in told
    for label in ("one sample with exact zeros", "samples more", "images of another width"):
        assert label in told
    for module, network, label in [
        (nn.Conv2d(2, 3, 3), Square(2, 3, 3), "another width"),
        (nn.ReLU(), One(), "one sample"),
    ]:
        with pytest.raises(DisagreementError, match=label):
            assert_parity(module, network, images)
        assert compare(module, network, images, vary=False).passed


class Biased(BatchNorm2d):
    """The running variance averages the variance divided by n."""

    factor = 1.0

    def _track(self, mean, unbiased_variance):
        n = 3 * 4 * 4
        super()._track(mean, unbiased_variance * np.float32(self.factor * (n - 1) / n))


def test_a_departure_that_is_meant_is_named_and_nothing_else_passes() -> None:
    module, images = nn.Sequential(nn.BatchNorm2d(2)), normal(3, 2, 4, 4)
    expect = {"0.running_var": "biased"}
    told = str(assert_parity(module, Sequential(Biased(2)), images, expect=expect, vary=False))
    assert "meant to depart: 0.running_var is biased" in told
    other = Sequential(Biased(2))
    other.layers["0"].factor = 1.01
    for network in (other, Sequential(BatchNorm2d(2))):
        with pytest.raises(DisagreementError, match="running_var"):
            assert_parity(module, network, images, expect=expect, vary=False)
    for wrong in ({"0.running_var": "doubled"}, {"0.running_mean": "biased"}):
        with pytest.raises(ParityError, match="expect: "):
            assert_parity(module, Sequential(Biased(2)), images, expect=wrong)
