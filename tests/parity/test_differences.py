"""Difference quotients: which elements are tried, what is granted and what is said, to the word."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from parity.finite_differences import _difference, _quotient, assert_derivatives
from parity.protocol import ParityError

EPSILON = float(np.finfo(np.float64).eps)


class Line:
    """y = w·x + b for numbers x, whose gradients are off by factors; an empty parameter besides."""

    def __init__(self, dw: float = 1.0, dx: float = 1.0, kink: float | None = None) -> None:
        self.w, self.b, self.none = np.array([2.0, -3.0]), np.zeros(1), np.zeros((0, 2))
        self.factors, self.kink = (dw, dx), kink
        self.upstream: Any = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x = x.copy()
        y = x * self.w + self.b
        return y if self.kink is None else y + np.where(x > self.kink, x - self.kink, 0)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        self.upstream = dy
        slope = self.w if self.kink is None else self.w + (self.x > self.kink)
        self.found = {"w": (dy * self.x).sum(0), "b": dy.sum().reshape(1), "none": self.none}
        self.found["w"] = self.found["w"] * self.factors[0]
        return dy * slope * self.factors[1]

    def parameters(self) -> dict[str, np.ndarray]:
        return {"w": self.w, "b": self.b, "none": self.none}

    def gradients(self) -> dict[str, np.ndarray]:
        return self.found

    def buffers(self) -> dict[str, np.ndarray]:
        return {}


class Negative:
    """A loss below zero: −Σ t·y."""

    def forward(self, y: np.ndarray, targets: np.ndarray) -> float:
        self.targets = targets
        return -float((targets * y).sum())

    def backward(self) -> np.ndarray:
        return -self.targets


X, T = np.array([[1.0, 4.0], [2.0, -8.0]]), np.array([[1.0, 2.0], [3.0, 4.0]])


def test_each_tensor_has_its_worst_element_told() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_derivatives(Line(1.25, 1.5), X, criterion=Negative(), targets=T)
    kind, *lines = str(caught.value).splitlines()
    assert kind == "Line"
    loss = float((T * (X * [2.0, -3.0])).sum())  # 86, whose magnitude is granted for
    size = abs(-loss)
    assert len(lines) == 2
    for line, name, index, backward, numeric, largest in (
        (lines[0], "input", [1, 1], 18.0, 12.0, 18.0),
        (lines[1], "w", [1], 30.0, 24.0, 30.0),
    ):
        granted = 32 * EPSILON ** (2 / 3) * (size + largest) * 30
        assert line.startswith(f"  gradient of {name} at {index}: backward {backward:.9g}, ")
        assert line.endswith(f", error 6, tolerance {granted:.3g}")
        assert float(line.partition("quotient ")[2].partition(",")[0]) == pytest.approx(
            numeric, rel=1e-6
        )


def test_by_default_thirty_elements_by_seed_0() -> None:
    asked: list[np.ndarray] = []

    class Counting(Line):
        def forward(self, x: np.ndarray) -> np.ndarray:
            asked.append(x)
            return super().forward(x)

    assert_derivatives(Counting(), np.ones((40, 2)))
    assert len(asked) == 1 + 2 * (30 + 2 + 1)
    for seed in (0, 5):
        network, x = Line(), X.copy()
        assert_derivatives(network, x, **({"seed": seed} if seed else {}))
        upstream = np.random.default_rng(seed).standard_normal(X.shape)
        np.testing.assert_array_equal(network.upstream, upstream)
        np.testing.assert_array_equal(x, X)


def test_a_kink_inside_the_first_step_is_outside_of_the_second() -> None:
    step = EPSILON ** (1 / 3)
    x = np.array([[0.5, 0.25]])
    for distance, right in ((step / 2, True), (step / 40, False)):
        network = Line(kink=0.5 - distance)
        if right:
            assert_derivatives(network, x)
            continue
        with pytest.raises(AssertionError, match=r"\ALine\n  gradient of input at \[0, 0\]: "):
            assert_derivatives(network, x)


def test_a_quotient_puts_its_element_back() -> None:
    array, asked = np.array([3.0, -50.0]), list[np.ndarray]()

    def value() -> float:
        asked.append(array.copy())
        return float(array[1] ** 2)

    for index, size in ((0, 3.0), (1, 50.0)):
        for shrink in (1, 30):
            asked.clear()
            found = _quotient(array, (index,), value, shrink)
            assert found == pytest.approx(-100 * index, rel=1e-6)
            above, below = (each[index] for each in asked)
            h = EPSILON ** (1 / 3) * size / shrink
            assert (above - below) / 2 == pytest.approx(h, rel=1e-6)
            assert array.tolist() == [3.0, -50.0]
    small = np.array([0.5])
    _quotient(small, (0,), lambda: asked.append(small.copy()) or 0.0, 1)  # type: ignore[func-returns-value]
    assert float(asked[-2][0] - 0.5) == pytest.approx(EPSILON ** (1 / 3), rel=1e-6)


def test_the_tolerance_counts_and_grows_with_a_smaller_step() -> None:
    array = np.array([1.0])

    def told(backward: float, tolerance: float) -> list[tuple[float, str]]:
        return _difference(array, (0,), np.array([backward]), lambda: float(array[0]), tolerance)

    assert told(1.5, 0.51) == []
    steps: list[float] = []

    def flat() -> float:
        steps.append(float(array[0]))
        return 1.0

    for tolerance, tried in ((1.5, 2), (0.05, 4)):  # that is, the whole error, or a thirtieth
        steps.clear()
        assert _difference(array, (0,), np.array([1.5]), flat, tolerance) == []
        assert len(steps) == tried
        assert steps[0] - 1 == pytest.approx(EPSILON ** (1 / 3), rel=1e-6)  # the larger step first
    assert told(1.5, 0.51 / 30) == []  # at the second step
    ((error, text),) = told(1.5, 0.49 / 30)
    assert error == pytest.approx(0.5)
    assert text.startswith("at [0]: backward 1.5, difference quotient 1")
    assert text.endswith(", error 0.5, tolerance 0.49")


def test_what_is_not_float64_is_named() -> None:
    network = Line()
    network.b = np.zeros(1, np.float32)
    with pytest.raises(ParityError) as caught:
        assert_derivatives(network, X)
    assert str(caught.value) == "finite differences need float64, and b is float32"
    with pytest.raises(ParityError, match="object cannot be compared"):
        assert_derivatives(object(), X)  # type: ignore[arg-type]
