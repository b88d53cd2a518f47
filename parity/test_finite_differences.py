"""Every backward against its own forward, without torch."""

from __future__ import annotations

import math

import numpy as np
import pytest

import numpy_models
from numpy_models import Conv2d, CrossEntropyLoss, Linear, MSELoss, Sequential
from parity.finite_differences import assert_derivatives
from parity.networks import NetworkCase, network_cases
from parity.protocol import ParityError
from parity.test_layers import AVG_POOL, BATCH_NORM, CONV, DROPOUT, MAX_POOL, SIMPLE, LayerCase

SMOOTH = [c for c in [*CONV, *AVG_POOL, *BATCH_NORM, *SIMPLE] if c.data == "normal"]
CASES = (
    SMOOTH + [c for c in MAX_POOL if c.data == "normal"] + [c for c in DROPOUT if c.shape[0] > 1]
)


def fixed_draws(network: Sequential, rng: np.random.Generator) -> None:
    """Let every dropout layer draw the same uniforms at each call."""
    for layer in network.layers.values():
        if hasattr(layer, "draw"):
            uniforms: dict[tuple[int, ...], np.ndarray] = {}
            layer.draw = lambda shape, held=uniforms: held.setdefault(
                shape, rng.random(shape, dtype=np.float32)
            )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_layer(case: LayerCase, rng) -> None:
    network = case.numpy(np.float64)
    fixed_draws(network, rng)
    for parameter in network.parameters().values():
        parameter[...] = rng.standard_normal(parameter.shape)
    inputs = LayerCase(case.kind, case.shape, case.arguments, "spaced").inputs(rng, np.float64)
    assert_derivatives(network, inputs)


@pytest.mark.parametrize("case", network_cases(), ids=str)
def test_network_with_its_loss(case: NetworkCase, rng) -> None:
    network = numpy_models.build(case.name, **case.arguments).to(np.float64)
    network.reset_parameters(0)
    fixed_draws(network, rng)
    inputs = rng.standard_normal((2, *case.input))
    assert_derivatives(
        network, inputs, criterion=CrossEntropyLoss(), targets=rng.integers(0, 10, 2), samples=6
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy(smoothing, rng) -> None:
    network = Sequential(Linear(5, 4)).to(np.float64)
    options = {"criterion": CrossEntropyLoss(smoothing), "targets": rng.integers(0, 4, 3)}
    assert_derivatives(network, rng.standard_normal((3, 5)), **options)


def test_mean_squared_error(rng) -> None:
    network = Sequential(Linear(5, 4)).to(np.float64)
    options = {"criterion": MSELoss(), "targets": rng.standard_normal((3, 4))}
    assert_derivatives(network, rng.standard_normal((3, 5)), **options)


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_a_gradient_wrong_by_a_thousandth_is_rejected_by_name(name, rng) -> None:
    class Wrong(Conv2d):
        def backward_batch_last(self, dy, input_gradient=True):
            dx = super().backward_batch_last(dy, input_gradient)
            self._gradients[name] *= 1.001
            return dx

    network = Sequential(Wrong(2, 3, 3)).to(np.float64)
    with pytest.raises(AssertionError, match=rf"\ASequential\n  gradient of 0\.{name} at .*\Z"):
        assert_derivatives(network, rng.standard_normal((2, 2, 6, 6)))


def test_float32_is_refused(rng) -> None:
    network = Sequential(Linear(3, 2)).to(np.float64)
    with pytest.raises(ParityError, match="need float64, and input is float32"):
        assert_derivatives(network, rng.standard_normal((2, 3)).astype(np.float32))


class Cubic:
    """y = w·x³, with a gradient that is off by a factor."""

    def __init__(self, factor: float = 1.0) -> None:
        self.w, self.dw, self.factor = np.array([2.0, 0.5]), np.zeros(2), factor

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x = x.copy()
        return self.w * x**3

    def backward(self, dy: np.ndarray) -> np.ndarray:
        self.dw[...] = (dy * self.x**3).sum(axis=0) * self.factor
        return dy * self.w * 3 * self.x**2

    def parameters(self) -> dict[str, np.ndarray]:
        return {"w": self.w}

    def gradients(self) -> dict[str, np.ndarray]:
        return {"w": self.dw}

    def buffers(self) -> dict[str, np.ndarray]:
        return {}


def test_a_difference_quotient_is_good_to_eight_places() -> None:
    """The tolerance is 32·ε^(2/3) of what is summed and of the largest gradient, 30 times."""
    x = np.array([[1.0, 100.0], [0.25, -3.0]])
    network, before = Cubic(), x.copy()
    y = network.forward(x)
    upstream = np.random.default_rng(0).standard_normal(y.shape)
    network.backward(upstream)
    assert_derivatives(network, x)
    assert np.array_equal(x, before)
    assert network.w.tolist() == [2.0, 0.5]
    scale = np.abs(upstream * y).sum() + np.abs(network.dw).max()
    tolerance = 30 * 32 * np.finfo(np.float64).eps ** (2 / 3) * scale
    share = tolerance / np.abs(network.dw).max()
    assert_derivatives(Cubic(1 + 0.8 * share), x)
    for factor in (1 + 1.2 * share, 1 - 1.2 * share, math.nan):
        with pytest.raises(AssertionError) as caught:
            assert_derivatives(Cubic(factor), x)
        kind, *lines = str(caught.value).splitlines()
        assert (kind, len(lines)) == ("Cubic", 1)
        assert lines[0].startswith("  gradient of w at [")
        assert math.isnan(factor) or f"tolerance {tolerance:.3g}" in lines[0]


def test_no_more_elements_are_tried_than_asked_for() -> None:
    class Counting(Cubic):
        calls = 0

        def forward(self, x: np.ndarray) -> np.ndarray:
            self.calls += 1
            return super().forward(x)

    network = Counting()
    assert_derivatives(network, np.ones((40, 2)), samples=7)
    assert network.calls == 1 + 2 * (7 + 2)
