"""The figures that tolerances are made of: sums' lengths, moved operands, formats, decisions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from parity import decisions, perturbation, precision
from parity.decisions import Choice, Rounding, experiments
from parity.finite_differences import assert_derivatives
from parity.perturbation import Probe, nudge, nudge_gradient, nudge_logits, observed, perturbed
from parity.task import Task
from parity.tolerance import TensorCheck, floor, judge, largest, movement, vacuous

DOUBLE = torch.float64


class Sum(nn.Module):
    """The sum of a sample."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum((1, 2, 3))


@pytest.mark.parametrize(
    ("layer", "shape", "forward", "backward"),
    [
        (nn.Conv2d(3, 4, (3, 2)), (5, 3, 5, 5), 18, 60),  # fan-in; batch times positions
        (nn.Conv2d(3, 40, 3), (1, 3, 4, 4), 27, 360),  # fan-out
        (nn.Linear(7, 3), (5, 7), 7, 5),
        (nn.Linear(3, 70), (2, 3), 3, 70),
        (nn.BatchNorm2d(3), (4, 3, 5, 2), 40, 40),  # a channel's elements
        (nn.BatchNorm2d(3, affine=False), (4, 3, 5, 2), 40, 40),
        (nn.AvgPool2d(2), (1, 2, 4, 4), 4, 4),
        (nn.MaxPool2d((2, 3)), (1, 2, 4, 6), 0, 6),  # which selects, and rounds nothing
        (nn.ReLU(), (3, 4), 0, 1),
        (nn.Tanh(), (3, 4), 1, 1),
        (Sum(), (2, 3, 4, 5), 60, 60),
        (nn.LSTM(3, 5), (7, 2, 3), 7, 20),  # steps; four gates of five
        (nn.Tanh(), (0, 4), 1, 1),
    ],
    ids=lambda value: str(value) if isinstance(value, tuple) else type(value).__name__,
)
def test_the_longest_sum_of_a_layer(layer, shape, forward, backward) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    layer = layer.double()
    with observed(layer) as seen:
        layer(x)
    assert seen == {"": (forward, backward)}


def test_a_layer_that_is_called_again_has_the_longest_of_its_sums() -> None:
    layer = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1)).double()
    with observed(layer) as seen:
        for size in (4, 9, 5):
            layer(torch.ones(1, 1, size, size, dtype=DOUBLE))
    assert seen == {"0": (9, 81)}
    layer(torch.ones(2, 1, 50, 50, dtype=DOUBLE))
    assert seen == {"0": (9, 81)}  # no longer watched


def test_operands_move_by_their_share_up_or_down() -> None:
    x = torch.tensor([1.0, -2.0, 3.0, 1.0, torch.inf, torch.nan, 0.0], dtype=DOUBLE)
    for probe in range(3):
        moved = nudge(x, 1e-3, probe)
        change = (moved - x)[:4].abs() / x[:4].abs()
        torch.testing.assert_close(change, torch.full((4,), 1e-3, dtype=DOUBLE), rtol=1e-9, atol=0)
        assert moved[4] == torch.inf
        assert moved[5].isnan()
        assert moved[6] == 0
    many = torch.arange(1.0, 1001.0, dtype=DOUBLE)
    ups = [nudge(many, 1e-3, probe) > many for probe in range(4)]
    for number, up in enumerate(ups):
        assert 400 < up.sum() < 600
        for other in ups[:number]:  # as independent as coins
            assert 400 < (up == other).sum() < 600
    for kept in (torch.tensor([1, 2]), "text", None):
        assert nudge(kept, 1e-3, 0) is kept


def test_equal_numbers_of_one_sample_move_alike_and_of_others_do_not() -> None:
    batch = torch.full((64, 5), 0.7, dtype=DOUBLE)
    signs = perturbation.signs(batch, 1)
    assert (signs == signs[:, :1]).all()
    assert 15 < (signs[:, 0] > 0).sum() < 49


def test_gradients_move_by_their_share_and_that_of_what_cancels_in_them() -> None:
    generator = torch.Generator().manual_seed(0)
    upstream = torch.randn(50, generator=generator, dtype=DOUBLE)
    for terms in (0.0, 0.5):
        x = torch.ones(50, dtype=DOUBLE, requires_grad=True)
        nudge_gradient(x * 1, 1e-3, 0, terms).backward(upstream)
        assert x.grad is not None
        change = (x.grad - upstream).abs()
        ends = [abs(1e-3 * (upstream.abs() + sign * terms)) for sign in (1, -1)]
        near = [(change - end).abs() < 1e-12 for end in ends]
        assert (near[0] | near[1]).all()
        assert change.max() > 1e-3 * (terms + upstream.abs().min())


@pytest.mark.parametrize(
    ("targets", "least"), [(torch.zeros(4, dtype=torch.long), 0.25), (torch.zeros(4, 9), 0.0)]
)
def test_a_loss_is_a_layer_whose_sums_are_over_classes(targets, least) -> None:
    """Its gradient is a difference of terms of 1/N where targets are classes."""
    logits = torch.linspace(1, 2, 36, dtype=DOUBLE).reshape(4, 9).requires_grad_()
    moved = nudge_logits(logits, targets, Probe({}, 1e-6, 0))
    shares = ((moved - logits) / logits).abs()
    torch.testing.assert_close(shares, torch.full_like(shares, 3e-6), rtol=1e-6, atol=0)
    arriving = torch.full((4, 9), 1e-30, dtype=DOUBLE)
    moved.backward(arriving)
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) == pytest.approx(3e-6 * least + 1e-30, rel=1e-3)


def test_a_perturbed_module_moves_what_goes_in_its_weights_and_what_comes_back() -> None:
    """By √n of each sum's n; without its parameters, if asked, and with nothing left behind."""
    x = torch.full((2, 9), 2.0, dtype=DOUBLE, requires_grad=True)
    for parameters in (True, False):
        module = nn.Sequential(nn.Linear(9, 16, bias=False)).double()
        with torch.no_grad():
            module.get_parameter("0.weight").fill_(1.0)
        with observed(module) as dimensions:
            module(x)
        assert dimensions == {"0": (9, 16)}
        with perturbed(module, Probe(dimensions, 1e-4, 0), parameters):
            y = module(x)
        weight = module.get_parameter("0.weight").detach()
        assert bool((weight != 1).all()) is parameters
        assert float((weight - 1).abs().max()) == pytest.approx(3e-4 * parameters)
        if not parameters:
            assert float((y.detach() - 18).abs().max()) == pytest.approx(18 * 3e-4)
            (dx,) = torch.autograd.grad(y, x, torch.ones_like(y))
            assert float((dx - 16).abs().max()) == pytest.approx(16 * 4e-4)
            assert torch.equal(module(x), torch.full((2, 16), 18.0, dtype=DOUBLE))


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
    x = torch.tensor([given, 1.0], dtype=DOUBLE)  # int8's grid is that of the largest
    assert kind.round(x)[0].item() == pytest.approx(rounded, rel=1e-12)
    assert (kind.round(x) - x).abs().le(kind.half_unit(x)).all()
    assert kind.stored is (name != "tf32")


def test_formats_at_the_edges() -> None:
    tf32, bf16, int8 = (precision.format_of(name) for name in ("tf32", "bfloat16", "int8"))
    edges = torch.tensor([0.0, torch.inf, -torch.inf], dtype=DOUBLE)
    assert torch.equal(tf32.round(edges), edges)
    assert tf32.round(torch.tensor([torch.nan], dtype=DOUBLE)).isnan().all()
    assert bf16.half_unit(edges)[0] > 0  # the least number of the format rounds too
    zeros = torch.zeros(3, dtype=DOUBLE)
    assert torch.equal(int8.round(zeros), zeros)
    assert int8.half_unit(zeros).shape == (3,)
    assert int8.half_unit(zeros[:0]).shape == (0,)
    task = Task(np.zeros((1, 2), np.float32))
    assert precision.epsilon_of(task) == np.finfo(np.float32).eps


def choice(x: list[float], chosen: list[int], kinks: list[float]) -> Choice:
    values = torch.tensor(x, dtype=DOUBLE)
    planes = values if kinks else values[None]
    return Choice("layer", 3, planes, torch.tensor(chosen if kinks else [chosen]), kinks)


def test_a_decision_is_what_any_run_takes_otherwise() -> None:
    """Of a window the margin is between two elements, each of which rounding may have moved."""
    still = choice([1.0, 0.25, 0.999], [0], [])
    moved = choice([0.998, 0.25, 1.001], [2], [])
    same = choice([1.004, 0.25, 0.99], [0], [])
    assert still.decision([same]) is None
    found = still.decision([same, moved])
    assert found is not None
    assert (found.operation, found.what, found.count, found.position) == ("layer", "window", 1, 3)
    assert (found.margin, found.granted) == pytest.approx((0.001, 2 * 0.009))
    assert str(found) == "1 window of layer (margin at most 0.001, granted 0.018)"


def test_a_kink_is_as_far_as_the_nearest_one() -> None:
    still = choice([0.5, 5.9, -1.0, 2.0], [1, 1, 0, 1], [0.0, 6.0])
    other = choice([-0.1, 6.2, -1.0, 2.0], [0, 2, 0, 1], [0.0, 6.0])
    found = still.decision([other])
    assert found is not None
    assert (found.what, found.count) == ("element", 2)
    assert (found.margin, found.granted) == pytest.approx((0.5, 0.6))
    assert str(found).startswith("2 elements of layer")


KINKS: list[tuple[Callable[[Tensor], Tensor], list[float]]] = [
    (torch.relu, [0]),
    (nn.functional.leaky_relu, [0]),
    (torch.abs, [0]),
    (nn.functional.elu, [0]),
    (lambda x: x.clamp(-1, 2), [-1, 2]),
    (lambda x: x.clamp(min=-1), [-1]),
    (lambda x: x.clamp(max=2), [2]),
    (lambda x: x.clamp(max=2.5).clamp_min(0.25), [2.5, 0.25]),
    (nn.functional.hardtanh, [-1, 1]),
    (nn.functional.relu6, [0, 6]),
    (lambda x: nn.functional.threshold(x, 0.3, 7.0), [0.3]),
    (nn.functional.hardshrink, [-0.5, 0.5]),
    (lambda x: nn.functional.softshrink(x, 0.2), [-0.2, 0.2]),
    (nn.functional.hardsigmoid, [-3, 3]),
    (nn.functional.hardswish, [-3, 3]),
    (torch.tanh, []),
]


@pytest.mark.parametrize(("function", "kinks"), KINKS, ids=range(len(KINKS)))
def test_where_derivatives_jump(function, kinks) -> None:
    x = torch.linspace(-7, 7, 29, dtype=DOUBLE, requires_grad=True)
    watch = Rounding(1e-7)
    with watch:
        function(x)
        function(x.detach())  # nothing goes back through it
    assert [kink for choice in watch.choices for kink in choice.kinks] == kinks
    for made in watch.choices:
        below = sum((x.detach() > kink).int() for kink in made.kinks)
        assert torch.equal(made.chosen.int(), torch.as_tensor(below))


def test_what_hangs_on_a_decision_is_computed_before_it() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    watch = Rounding(1e-7)
    with watch.watching(module):
        module(torch.ones(1, 2, dtype=DOUBLE, requires_grad=True))
    assert watch.called == {"": 0, "0": 1, "1": 2, "2": 3}
    (made,) = watch.choices
    assert (made.operation, made.position) == ("1", 3)
    places = [("0", "gradient of weight"), ("2", "gradient of weight"), ("0", "weight")]
    ends = [("", "gradient of input"), ("", "gradient of output"), ("", "output")]
    assert watch.hanging(3, [*places, *ends]) == {places[0], ends[0]}
    assert watch.hanging(0, [*places, *ends]) == set()
    again = Rounding(1e-7)
    with again.watching(module):
        module(-torch.ones(1, 2, dtype=DOUBLE, requires_grad=True))
    assert watch.agrees(watch, places) == set(places)
    if not torch.equal(made.chosen, again.choices[0].chosen):
        assert watch.agrees(again, places) == set(places[1:])


def test_the_ways_in_which_rounding_may_go() -> None:
    plane = torch.zeros(2, 3, 4, 5, dtype=DOUBLE)
    found = [signs(plane) for signs in experiments()]
    assert len(found) == 2 + 4 + decisions.DRAWS
    assert all(each.shape == plane.shape and each.abs().max() <= 1 for each in found)
    assert [float(each.unique()) for each in found[:2]] == [1, -1]
    for (rows, columns), each in zip([(1, 1), (1, -1), (-1, 1), (-1, -1)], found[2:6], strict=True):
        assert each[0, 0, 1, 1] == (rows + columns) / 2
        assert each[1, 2, 1, 2] == (rows - columns) / 2
        assert each[0, 0, 2, 3] == (columns - rows) / 2
    for number, each in enumerate(found[6:], 6):
        assert each.min() < -0.8
        assert each.max() > 0.8
        assert not any(torch.equal(each, other) for other in found[:number])


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
