"""Modules as people have them: several inputs, tuple outputs, tied weights, recurrences; each is
judged, or refused in one sentence.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from numpy_models import Linear
from parity import DisagreementError, ParityError, assert_parity
from parity.sides import TorchModule
from tests.parity.factories import normal


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

    def __init__(self) -> None:
        super().__init__()
        self.relu, self.a, self.b = nn.ReLU(inplace=True), nn.Linear(4, 4), nn.Sequential(nn.Tanh())
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


class Spoilt(TorchModule):
    """Every output 1 % too large, though each layer is right."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        y = super().forward(*args, **kwargs)
        self._outputs = torch.utils._pytree.tree_map(lambda leaf: leaf * 1.01, self._outputs)
        return torch.utils._pytree.tree_map(lambda leaf: np.float32(1.01) * leaf, y)

    @property
    def layers(self) -> dict[str, TorchModule]:
        return {name: TorchModule(child) for name, child in self.module.named_children()}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_modules_are_judged(name) -> None:
    module, inputs = ORDINARY[name]
    assert_parity(module, TorchModule(module), inputs)
    with pytest.raises(DisagreementError, match=r"\Aculprit: "):
        assert_parity(module, Spoilt(module), inputs)


def test_tied_gradients_may_come_under_either_name_or_both() -> None:
    class Both(TorchModule):
        def parameters(self):
            own = super().parameters()
            return {**own, "out.weight": own["embedding.weight"]}

    class Shares(Both):
        def gradients(self):
            own = super().gradients()
            own["out.weight"] = own["embedding.weight"] * 0.25
            own["embedding.weight"] *= 0.75
            return own

    class Second(Both):
        def gradients(self):
            own = super().gradients()
            own["out.weight"] = own.pop("embedding.weight")
            return own

    module, tokens = ORDINARY["language"]
    for kind in (Shares, Second):
        assert_parity(module, kind(module), tokens)
    first = Second(module)
    first.parameters = super(Both, first).parameters
    first.buffers = lambda: None
    assert_parity(module, first, tokens)


def test_gradients_are_asked_for_after_backward_only() -> None:
    assert_parity(nn.Linear(4, 3), Late(nn.Linear(4, 3)), normal(5, 4))


class Locked(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 3)
        self.lock = threading.Lock()


class Late(TorchModule):
    """Has no gradients before its first backward."""

    def gradients(self):
        if self._outputs is None:
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
