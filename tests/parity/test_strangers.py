"""A stranger's network of layers under torch's names: the wrong layer is accused, and no other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn

from parity import DisagreementError, assert_parity, localise
from tests.parity.factories import normal


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
