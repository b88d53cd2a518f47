"""A stranger's layers and networks: the wrong layer is accused, and no other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn

from parity import DisagreementError, ParityError, assert_parity, localise
from tests.parity.factories import normal
from tests.parity.handwritten import Chain, Dense


class Shown(Chain):
    """One that has its layers as attributes."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.__dict__.update(parts)


class Affine(Dense):
    """In float32; without a dict for its buffers."""

    def __init__(self, fan_in: int, fan_out: int, offset: float = 0.0) -> None:
        super().__init__(fan_in, fan_out, dtype=np.float32)
        self.offset = np.float32(offset)

    def forward(self, x):
        return super().forward(x) + self.offset

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


def chain(r: Any, b: Any) -> tuple[nn.Module, Shown]:
    module = nn.Sequential()
    for name, layer in {"a": nn.Linear(4, 5), "r": nn.ReLU(), "b": nn.Linear(5, 3)}.items():
        module.add_module(name, layer)
    return module, Shown(a=Affine(4, 5), r=r, b=b)


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
    network.a = network.parts["a"] = Meddling(4, 5)
    network.a.victim = network.b
    assert culprits(module, network) == ["a"]


def test_what_the_network_does_itself_and_rightly_is_no_missing_layer() -> None:
    class Inline(Shown):
        def forward(self, x):
            h = self.a.forward(x)
            self.mask = h > 0
            return self.b.forward(h * self.mask) + np.float32(0.1)

        def backward(self, dy):
            return self.a.backward(self.b.backward(dy) * self.mask)

    module, network = chain(Rectifier(), Affine(5, 3))
    network.__class__ = Inline
    assert "r" not in culprits(module, network)


def test_a_strangers_layer(rng) -> None:
    assert_parity(nn.Linear(4, 3), Dense(4, 3), rng.standard_normal((5, 4)))
    with pytest.raises(AssertionError, match="gradient of weight: worst at"):
        assert_parity(nn.Linear(4, 3), Dense(4, 3, scale=1.001), rng.standard_normal((5, 4)))


def test_a_strangers_network_with_a_mapping_of_layers(rng) -> None:
    module = nn.Sequential()
    module.add_module("first", nn.Linear(4, 3))
    module.add_module("second", nn.Linear(3, 2))
    network = Chain(first=Dense(4, 3), second=Dense(3, 2, scale=1.001))
    layers, inputs = network.parts, rng.standard_normal((5, 4))
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
