"""What counts as a decision, what hangs on it, and the ways in which rounding may go."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from parity import decisions
from parity.choices import Choice
from parity.decisions import Rounding, experiments

DOUBLE = torch.float64


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
