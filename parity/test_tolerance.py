"""The tolerance rule itself: what it lets pass and what it must not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from numpy_models import BatchNorm2d, Conv2d, Flatten, Linear, ReLU, Sequential, Tanh
from parity import assert_parity, compare
from parity.tolerance import FACTOR, TensorCheck, floor, judge, largest, movement, vacuous


def verdict(a, t, r, floor=0.0):
    a, t = np.asarray(a, np.float32), np.asarray(t, np.float32)
    r = np.asarray(r, np.float64)
    return judge("net", "c1", "weight", a, t, r, max(FACTOR * movement(t, r), floor))


def test_budget_is_the_stated_factor_of_torchs_own_error() -> None:
    assert verdict([1 + 2e-6], [1 + 1e-6], [1.0]).share == pytest.approx(2 / FACTOR, rel=0.1)
    assert verdict([1 + 3e-6], [1 + 1e-6], [1.0]).passed
    assert not verdict([1 + 6e-6], [1 + 1e-6], [1.0]).passed


def test_the_floor_holds_where_torch_is_exact() -> None:
    assert verdict([2.0 + 1e-6], [2.0], [2.0], floor=2e-6).passed
    assert not verdict([2.0 + 1e-6], [2.0], [2.0], floor=1e-7).passed


def test_the_message_names_everything() -> None:
    text = str(verdict([[1.0, 5.0]], [[1.0, 2.0]], [[1.0, 2.0]], floor=1e-6))
    for part in ("net", "layer c1", "weight", "[0, 1]", "torch 2", "NumPy 5", "error 3", "1e-06"):
        assert part in text


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1.0])
@pytest.mark.parametrize("right", [np.nan, np.inf, -np.inf, 1.0])
def test_non_finite_values_must_match_in_place_and_kind(right, wrong) -> None:
    check = verdict([0.0, wrong], [0.0, right], [0.0, right], floor=1.0)
    same = right == wrong or (np.isnan(right) and np.isnan(wrong))
    assert check.passed == same
    assert check.index == ((0,) if same else (1,))


def test_shape_and_dtype_are_held() -> None:
    r = np.zeros((2, 3))
    assert "shape" in judge("n", "", "output", np.zeros((3, 2)), r, r, 1.0).note
    assert "dtype" in judge("n", "", "output", r.astype(np.float32), r, r, 1.0).note


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_bias_before_batch_normalisation_is_granted_rounding_only(dtype, rng) -> None:
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    inputs = rng.standard_normal((4, 1, 8, 8)).astype(dtype)
    network = Sequential(Conv2d(1, 3, 3), BatchNorm2d(3)).to(dtype)
    comparison = compare(module, network, inputs)
    assert comparison.passed, str(comparison)
    (bias,) = [c for c in comparison.checks if (c.layer, c.tensor) == ("0", "gradient of bias")]
    assert 0 < bias.budget < 5e4 * np.finfo(dtype).eps


def scaled(kind: type, tensor: str, factor: float) -> type:
    """Return a layer class whose result or gradient is off by a factor."""

    class Faulty(kind):  # type: ignore[misc, valid-type]
        def forward_batch_last(self, x):
            y = super().forward_batch_last(x)
            return y * y.dtype.type(factor) if tensor == "output" else y

        def backward_batch_last(self, dy, input_gradient=True):
            dx = super().backward_batch_last(dy, input_gradient)
            if tensor == "input":
                return dx * dx.dtype.type(factor)
            if tensor in self._gradients:
                self._gradients[tensor] *= factor
            return dx

    return Faulty


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tensor", ["output", "input", "weight", "bias"])
@pytest.mark.parametrize("kind", [Conv2d, BatchNorm2d, Linear])
def test_a_thousandth_is_always_rejected(kind, tensor, dtype, rng) -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Flatten())
    module.append(nn.Linear(4 * 12 * 12, 5))
    faulty = scaled(kind, tensor, 1.001)
    classes = [faulty if c is kind else c for c in (Conv2d, BatchNorm2d, Linear)]
    network = Sequential(
        classes[0](1, 4, 3), ReLU(), classes[1](4), Flatten(), classes[2](4 * 12 * 12, 5)
    ).to(dtype)
    inputs = rng.standard_normal((6, 1, 14, 14)).astype(dtype)
    assert not compare(module, network, inputs).passed


def test_a_saturated_tanh_is_no_disagreement() -> None:
    """1 − tanh² of what is all but 1 holds few right digits, on either side."""
    torch.manual_seed(20)
    module = nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 3))
    network = Sequential(Linear(5, 5), Tanh(), Linear(5, 3)).to(np.float64)
    inputs = np.random.default_rng(20).standard_normal((6, 5))
    assert_parity(module, network, inputs)


def test_the_floor_is_what_runs_move_and_the_rounding_of_a_sum() -> None:
    reference = np.array([3.0, -4.0, np.inf])
    trials = [reference + np.array([1e-6, 0, 0]), reference - np.array([0, 5e-6, 0])]
    assert floor(reference, [], 9, 1e-3) == pytest.approx(3 * 1e-3 * 4)
    assert floor(reference, trials, 9, 1e-3) == pytest.approx(5e-6 + 3 * 1e-3 * 4)
    assert largest(np.array([np.nan, np.inf])) == largest(np.zeros(0)) == 0.0
    assert movement(np.array([1.0, np.nan]), np.array([3.0, 1.0])) == 2.0


@pytest.mark.parametrize(
    ("error", "budget", "size", "biggest", "epsilon", "unjudged"),
    [
        (0.2, 1.0, 1.0, 1.0, 1e-7, True),  # above a tenth of the tensor
        (0.09, 1.0, 1.0, 1.0, 1e-7, False),
        (0.2, 1.0, 1.0, 1e4, 1e-7, False),  # the budget is negligible beside the largest
        (0.2, 1.1, 1.0, 1e4, 1e-7, True),
        (1e-9, 1.0, 1e-9, 1.0, 1e-7, False),  # zero but for float64's rounding
        (1e-4, 1.0, 1e-4, 1.0, 1e-7, True),
        (1e-9, 1.0, 1e-9, 1.0, 2.0**-52, True),  # in float64 there is nothing finer
        (2.0, 1.0, 1.0, 1.0, 1e-7, False),  # which fails
    ],
)
def test_a_budget_that_lets_anything_pass_is_no_verdict(
    error, budget, size, biggest, epsilon, unjudged
) -> None:
    check = TensorCheck("net", "c1", "weight", (0,), 0.0, 0.0, error, budget * 1.0)
    biggest = biggest * 1.0
    exact = {("c1", "weight"): np.array([size]), ("", "output"): np.array([biggest])}
    negligible = 1024 * epsilon * biggest
    if biggest == 1e4:
        check = TensorCheck("net", "c1", "weight", (0,), 0, 0, error, budget * negligible)
    (marked,) = vacuous([check], exact, epsilon)
    assert bool(marked.unjudged) is unjudged
    assert marked.passed is (check.passed and not unjudged)
    (apart,) = vacuous([check], exact, epsilon, {"weight of c1"})
    assert apart == check


def test_the_worst_element_is_where_numpy_is_farthest_from_the_reference() -> None:
    reference = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    ours = (reference + np.array([[0, 0, 0], [0, -0.5, 0.25]])).astype(np.float32)
    check = judge("n", "", "output", ours, reference.astype(np.float32), reference, 1.0)
    assert (check.index, check.error, check.share) == ((1, 1), 0.5, 0.5)
    assert (check.torch_value, check.numpy_value) == (5.0, 4.5)
    none = judge("n", "", "output", ours[:0], ours[:0], reference[:0], 0.0)
    assert (none.error, none.share, none.passed) == (0.0, 0.0, True)
    flags = np.array([True, False])
    assert not judge("n", "", "mask", ~flags, flags, flags, 0.5).passed
    assert judge("n", "", "mask", flags, flags, flags, 0.0).passed
