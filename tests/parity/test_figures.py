"""Figures that tolerances and reports are made of, at the edges of what they are asked."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from parity import assert_parity, precision
from parity.choices import Choice
from parity.comparison import Comparison, _doubted, _judged
from parity.decisions import (
    Leeway,
    Rounding,
    _chequered,
    _double,
    _drawn,
    _is_single,
    _single,
    leeway,
)
from parity.departures import absent, check
from parity.names import resolve, summed
from parity.perturbation import Probe, nudge, nudge_gradient, nudge_logits, observed, signs
from parity.protocol import ParityError
from parity.references import References
from parity.runs import arithmetic
from parity.task import Setting, Task
from parity.tolerance import TensorCheck, fault, judge, movement, promoted, vacuous
from parity.transfer import _same
from parity.witness import witnesses

DOUBLE = torch.float64
EPS, EPS64 = float(np.finfo(np.float32).eps), float(np.finfo(np.float64).eps)
X = np.array([[1.0, 2.0]], np.float32)


# Verdicts on one tensor


def test_a_verdict_names_its_place_to_the_type() -> None:
    made = fault("net", "", "output", "missing")
    assert (made.network, made.layer, made.tensor, made.index) == ("net", "", "output", ())
    assert (made.error, made.budget, made.share) == (float("inf"), 0.0, float("inf"))
    assert np.isnan([made.torch_value, made.numpy_value]).all()
    empty = judge("net", "fc", "bias", *[np.zeros((0, 2))] * 3, 0.5)
    assert empty == TensorCheck("net", "fc", "bias", (), 0.0, 0.0, 0.0, 0.5)
    scalar = judge("net", "", "loss", np.array(1.5), np.array(1.0), np.array(1.25), 0.5)
    assert scalar == TensorCheck("net", "", "loss", (), 1.0, 1.5, 0.25, 0.5)
    x = np.array([1.0, np.inf, np.nan], np.float32)
    infinite = judge("net", "", "output", x, np.array([1, -np.inf, np.nan], np.float32), x, 0.5)
    assert infinite.note == "at [1] torch has -inf and NumPy inf"
    assert (infinite.index, infinite.error, infinite.budget) == ((1,), float("inf"), 0.5)
    assert (infinite.torch_value, infinite.numpy_value) == (-np.inf, np.inf)
    wide = judge("net", "", "output", x.astype(np.float64), x, x.astype(np.float64), 0.5)
    assert wide.passed
    assert promoted(x.astype(np.float64), x)
    assert not promoted(x, x.astype(np.float64))
    said = judge("net", "", "output", x.tolist(), x, x, 0.5)  # type: ignore[arg-type]
    assert said.note == "NumPy gives a list, not an array"
    low = judge("net", "", "output", x.astype(np.float16), x, x, 0.5)
    assert low.note == "dtype float32 in torch, float16 in NumPy"


def test_no_warning_is_given_of_numbers_that_are_none() -> None:
    x = np.array([np.inf, np.nan, 1e308, -1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert movement(x, np.array([np.inf, 1, -1e308, 1])) == 2
        assert judge("net", "", "output", x, x, np.array([np.inf, 1, -1e308, -2]), 9.0).error == 1
        for value in (np.inf, np.nan):
            moved = nudge(torch.tensor([value, 2.0], dtype=DOUBLE), 0.5, 0)
            assert moved[1] in (1.0, 3.0)


def test_an_error_above_a_tenth_of_the_tensor_is_no_pass() -> None:
    check = TensorCheck("net", "", "output", (0,), 0, 0, 0.1, 1.0)
    for error, vague in ((0.1, False), (0.1001, True)):
        (found,) = vacuous([replace(check, error=error)], {OUTPUT: np.array([1.0])}, EPS)
        told = "rounding is granted 1, the tensor is at most 1"
        assert found.unjudged == (told if vague else "")


# What rounding moves


def test_a_parameter_without_axes_is_a_sum_over_all_of_the_output() -> None:
    class Temperature(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.t = nn.Parameter(torch.tensor(2.0))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.t

    class Scale:
        def __init__(self) -> None:
            self.t = np.zeros((), np.float32)

        def forward(self, x: np.ndarray) -> np.ndarray:
            self.x = x
            return x * self.t

        def backward(self, dy: np.ndarray) -> np.ndarray:
            self.dt = np.asarray((dy * self.x).sum())
            return dy * self.t

        def parameters(self) -> dict[str, np.ndarray]:
            return {"t": self.t}

        def gradients(self) -> dict[str, np.ndarray]:
            return {"t": self.dt}

        def buffers(self) -> dict[str, np.ndarray]:
            return {}

    module = Temperature()
    with observed(module) as seen:
        module(torch.ones(3, 5))
    assert seen == {"": (1, 15)}
    inputs = np.linspace(-1, 1, 15, dtype=np.float32).reshape(3, 5)
    for names in (None, {"t": ("t", lambda t: t)}):
        assert_parity(module, Scale(), inputs, names=names)


def test_numbers_without_axes_move_too() -> None:
    x = torch.tensor(2.0, dtype=DOUBLE)
    for probe in range(4):
        assert abs(float(nudge(x, 1e-3, probe)) - 2) == pytest.approx(2e-3)
    assert {float(signs(torch.tensor(float(n), dtype=DOUBLE), 0)) for n in range(9)} == {-1.0, 1.0}
    assert signs(torch.zeros(0, 3), 0).shape == (0, 3)
    assert nudge(torch.ones(2), 1e-3, 0).dtype == torch.float32
    logits = torch.tensor(3.0, dtype=DOUBLE, requires_grad=True)
    moved = nudge_logits(logits, torch.tensor(1), Probe({}, 1e-3, 0))
    assert abs(float(moved.detach()) - 3) == pytest.approx(3e-3)
    moved.backward(torch.tensor(1e-30, dtype=DOUBLE))
    assert logits.grad is not None
    assert abs(float(logits.grad)) == pytest.approx(1e-3)
    for kept in (torch.ones(2), "text", None):
        assert nudge_gradient(kept, 1e-3, 0) is kept


def test_signs_are_a_coin_for_each_value_sample_and_probe() -> None:
    x = torch.arange(1.0, 2001.0, dtype=DOUBLE)
    rows = torch.stack([x[:1000]] * 6)
    by_sample, by_probe = signs(rows, 0), np.stack([signs(rows[:1], n)[0] for n in range(6)])
    for made in (by_sample, by_probe):
        for one in range(6):
            for other in range(one):
                assert 400 < (made[one] == made[other]).sum() < 600
    small = signs(torch.arange(1000, dtype=DOUBLE)[None], 0)  # neighbours too
    assert 400 < (small[0, 1:] == small[0, :-1]).sum() < 600


def test_signs_are_the_same_from_one_version_to_the_next() -> None:
    """Else every budget would be another, and figures of one version no measure for the next."""
    x = torch.arange(1.0, 65.0, dtype=DOUBLE).reshape(4, 4, 4) / 8
    bits = [np.packbits(signs(x, probe).ravel() > 0).tobytes().hex() for probe in range(3)]
    assert "".join(bits) == "2438202174eab75bd5c19e10e1dee8073e406fffa9169caf"


def test_patterns_have_the_dtype_of_what_they_move() -> None:
    y = torch.zeros(2, 3, 4, 5, dtype=DOUBLE)
    made = _chequered(y, 1, -1)
    assert (made.dtype, made.shape) == (DOUBLE, y.shape)
    assert torch.equal(_chequered(y[0, 0], -1, 1), -torch.ones(4, 5, dtype=DOUBLE))
    assert _chequered(y[0], 1, 1)[0, :2, :2].tolist() == [[-1, 0], [0, 1]]
    drawn = _drawn(y, torch.Generator().manual_seed(1))
    assert drawn.dtype == DOUBLE
    expected = 2 * torch.rand(y.shape, generator=torch.Generator().manual_seed(1), dtype=DOUBLE) - 1
    assert torch.equal(drawn, expected)


def test_operands_in_single_and_double_precision() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.full((1000,), 3.0, dtype=DOUBLE)
    with arithmetic(DOUBLE):  # as it is while a reference runs
        single = _single(x, generator)
    again = torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    assert torch.equal(single, (x * (1 + 2.0**-12 * again)).float())
    assert single.dtype == torch.float32
    share = single.double() / 3 - 1
    assert 0 <= float(share.min()) < 1e-5
    assert 2.3e-4 < float(share.max()) <= 2.0**-12 + EPS
    assert torch.equal(_double(single), single.double())
    whole = torch.tensor([1, 2])
    for change in (_double, lambda value: _single(value, generator)):
        made = change(whole)
        assert torch.equal(made, whole)
        assert made is not whole
        assert made.dtype == torch.int64
        assert change("text") == "text"
    kinds = (torch.float32, torch.float16, torch.bfloat16, DOUBLE, torch.int64)
    assert [_is_single(torch.ones(1, dtype=kind)) for kind in kinds] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert not _is_single([torch.ones(1)])


def test_what_is_exact_stays_and_what_rounds_moves_by_its_error_or_units() -> None:
    def run(function, *operands: Tensor) -> tuple[Tensor, Tensor]:
        still = function(*operands)
        with Rounding(EPS, lambda y: torch.ones_like(y)):
            return still, function(*operands)

    x = torch.linspace(-1, 1, 50, dtype=DOUBLE)
    for exact in (torch.relu, torch.abs, lambda x: x.clamp(-0.5, 0.5), torch.neg, torch.sort):
        still, moved = run(exact, x)
        if isinstance(still, Tensor):
            assert torch.equal(still, moved)
        else:
            assert all(torch.equal(a, b) for a, b in zip(still, moved, strict=True))
    still, moved = run(torch.exp, x)
    change = moved - still
    largest = 4 * EPS * float(still.abs().max())  # four units in the last place of the largest
    assert float(change.max()) == pytest.approx(largest, rel=1e-3)
    assert float(change.min()) >= 0
    floored, moved = run(lambda x: torch.div(x, 0.3, rounding_mode="floor"), x)
    assert torch.equal(floored, moved)
    with Rounding(EPS / 8, lambda y: torch.ones_like(y)):
        finer = torch.exp(x) - still
    assert float(finer.max()) == pytest.approx(largest / 8, rel=1e-3)
    long = torch.full((4096,), 0.1, dtype=DOUBLE)
    still, moved = run(lambda x: x.cumsum(0), long)  # whose error is more than units
    assert float((moved - still).max()) >= largest / 4
    views, moved = run(lambda x: x.reshape(5, 10), x)
    assert torch.equal(views, moved)
    whole, again = run(lambda x: x * 3, torch.arange(5))
    assert torch.equal(whole, again)
    masked, again = run(lambda mask: mask * x[:5], torch.arange(5))
    assert torch.equal(masked, again)
    large, moved = run(torch.exp, torch.tensor([100.0, 1.0], dtype=DOUBLE))  # infinite in float32
    assert float((moved - large).max()) == pytest.approx(4 * EPS * float(large[0]), rel=0.05)
    some, moved = run(torch.exp, torch.tensor([0.0, 1.0, torch.inf], dtype=DOUBLE))
    assert moved[0] == 1  # which is exact, whatever its neighbours are
    assert float(moved[1] - some[1]) == pytest.approx(4 * EPS * float(some[1]), rel=1e-3)


class Rounded(nn.Module):
    """Less than double precision inside."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * 2).float().tanh().double()


def test_the_first_operation_in_less_than_double_is_named() -> None:
    for module, name in (
        (nn.Sequential(nn.Tanh(), Rounded()), "to_copy in 1"),
        (Rounded(), "to_copy in its forward"),
        (nn.Tanh(), ""),
    ):
        watch = Rounding(EPS)
        with watch.watching(module):
            module(torch.ones(2, dtype=DOUBLE, requires_grad=True))
        assert watch.single == name
        with watch.watching(module):
            module(torch.ones(2))
        assert watch.single == name


def test_choices_are_named_by_their_layer_or_what_comes_before() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.pool = nn.Linear(4, 4), nn.MaxPool1d(2)

        def forward(self, x: Tensor) -> Tensor:
            y = nn.functional.max_pool2d(self.fc(x.relu())[None], (1, 2))[0]
            return self.pool(y).relu()

    module, watch = Mixed().double(), Rounding(EPS)
    x = torch.linspace(-1, 1, 8, dtype=DOUBLE).reshape(2, 4).requires_grad_()
    with watch.watching(module):
        y = module(x)
        y.relu()
    named = [(choice.operation, choice.position, choice.dimensions) for choice in watch.choices]
    assert named == [
        ("relu after the input", 1, 1),
        ("max_pool2d after fc", 2, 2),
        ("pool", 3, 2),
        ("relu after pool", 3, 1),
        ("the loss", 4, 1),
    ]
    assert watch.called == {"": 0, "fc": 1, "pool": 2}


def test_leeway_is_the_largest_movement_and_four_times_that_of_what_hangs() -> None:
    places = [("", "output"), ("a", "gradient of weight"), ("b", "gradient of weight")]
    reference = {place: np.array([1.0]) for place in places}
    runs = iter(range(1, 11))

    def run(rounding: Rounding) -> dict[tuple[str, str], np.ndarray]:
        number = next(runs)
        rounding.choices = [chosen(2, 0.5), chosen(9, 0.5)]
        if number == 3:
            rounding.choices[0] = replace(chosen(2, -0.25), chosen=torch.tensor([0]))
        return {place: np.array([1.0 + 0.125 * number]) for place in places}

    def chosen(position: int, x: float) -> Choice:
        return Choice("relu", position, torch.tensor([x]), torch.tensor([1]), [0.0])

    still = Rounding(EPS)
    still.called, still.choices = {"": 0, "a": 1, "b": 4}, [chosen(2, 0.5), chosen(9, 0.5)]
    own = Rounding(EPS)
    own.choices = still.choices
    watched = [(reference, still), ({place: np.array([4.0]) for place in places}, own)]
    found = leeway(run, watched, EPS)
    assert isinstance(found, Leeway)
    (decision,) = found.decisions
    assert (decision.position, decision.margin, decision.granted) == (2, 0.5, 0.75)
    assert found.hanging == {places[1]}
    assert list(found.budgets.values()) == [3.0, 12.0, 3.0]
    runs = iter(range(1, 11))
    assert list(leeway(run, watched, EPS64).budgets.values()) == [12.0, 12.0, 12.0]


# Comparisons


def references(exact: dict, single: str = "") -> References:
    watch = Rounding(EPS)
    watch.single = single
    budgets = dict.fromkeys(exact, 1e-6)
    own = {place: value.astype(np.float32) for place, value in exact.items()}
    return References(nn.Tanh(), Task(X), own, exact, budgets, [(exact, watch)])


OUTPUT, DX, W = ("", "output"), ("", "gradient of input"), ("fc", "gradient of weight")
EXACT = {OUTPUT: np.array([2.0]), DX: np.array([1.0]), W: np.array([0.5])}


def test_tensors_are_judged_in_torchs_order_and_what_one_side_lacks_is_told() -> None:
    setting = Setting("net", nn.Tanh(), object(), Task(X))
    given = references(EXACT)
    same = {place: value.astype(np.float32) for place, value in reversed(EXACT.items())}
    checks = _judged(setting, same, given)
    assert [(each.layer, each.tensor, each.passed) for each in checks] == [
        (*place, True) for place in EXACT
    ]
    assert all(each.budget == 1e-6 for each in checks)
    more = {("", "gradient of input[1]"): np.zeros(2), ("", "gradient of input[2]"): np.ones(2)}
    more[("fc", "extra")] = np.zeros(1)
    checks = _judged(setting, {**same, **more}, given)[3:]
    assert [(each.tensor, each.note) for each in checks] == [
        ("gradient of input[2]", "only NumPy has it"),
        ("extra", "only NumPy has it"),
    ]
    wide = _judged(setting, {**same, OUTPUT: EXACT[OUTPUT]}, given)[-1]
    assert (wide.layer, wide.tensor) == ("", "dtype")
    assert wide.note.endswith("all the same: output")
    flat = _judged(setting, {**same, OUTPUT: np.zeros((1, 1), np.float32)}, given)
    assert [each.note for each in flat] == ["shape (1,) in torch, (1, 1) in NumPy"]
    alone = replace(setting, layer="fc")
    with pytest.raises(ParityError) as caught:
        _judged(alone, {**same, ("", "output[1]"): X}, given)
    assert str(caught.value) == "net: NumPy's layer returns other outputs than torch's"


def test_what_has_no_float64_reference_is_no_ones_fault_up_to_single_precision() -> None:
    setting = Setting("net", nn.Tanh(), object(), Task(X))
    least = 1024 * EPS  # of the tensor's largest, 2
    for error, single, note, told in (
        (2 * least, "tanh in 1", "", True),
        (2.001 * least, "tanh in 1", "", False),
        (2 * least, "", "", False),
        (2 * least, "tanh in 1", "changed", False),
    ):
        check = TensorCheck("net", "", "output", (0,), 1, 1, error, least / 8, note)
        held = Comparison("net", "float32", True, [check])
        (found,) = _doubted(held, setting, references(EXACT, single))
        assert bool(found.unjudged) is told
        if told:
            assert found.unjudged == (
                f"off by {error:.3g}, and torch's Tanh computes in less than double precision "
                "inside (tanh in 1), so that there is no float64 reference"
            )
    lost = TensorCheck("net", "", "inputs", (0,), 1, 1, 1e-9, 1e-12)  # of which torch says nothing
    held = Comparison("net", "float32", True, [lost])
    assert _doubted(held, setting, references(EXACT, "tanh in 1")) == [lost]


def test_with_few_bits_fewer_units_count_for_nothing() -> None:
    """1024 units of the largest number are negligible in float32, and 16 in bfloat16."""
    for kind, negligible in (("", 1024 * EPS * 100), ("bfloat16", 16 * 2.0**-7 * 100)):
        setting = Setting("net", nn.Tanh(), object(), Task(X, format=kind))
        for share, vague in ((0.999, False), (1.001, True)):
            budget = share * negligible
            exact = {OUTPUT: np.array([100.0]), W: np.array([budget / 2])}
            check = TensorCheck("net", *W, (0,), 1, 1, budget, budget)
            held = Comparison("net", "float32", True, [check])
            (found,) = _doubted(held, setting, references(exact))
            assert bool(found.unjudged) is vague, (kind, share)
            hanging = replace(held, undecided=["gradient of weight of fc"])
            assert _doubted(hanging, setting, references(exact)) == [check]


# Others


def test_a_format_is_made_of_its_limits() -> None:
    made = precision._cast(torch.float16)
    x = torch.tensor([1 + 2**-11 + 2**-20, 3.0, 0.0, 2.0**-24], dtype=DOUBLE)
    assert made.round(x).tolist() == [1 + 2**-10, 3, 0, 2.0**-24]
    assert made.round(x).dtype == DOUBLE
    half = made.half_unit(x).tolist()
    assert half[1:] == [3 * 2.0**-11, 2.0**-25, 2.0**-25]
    assert made.stored is True


def test_what_few_bits_are_granted_is_four_times_what_they_move() -> None:
    module = nn.Linear(2, 2, bias=False).double()
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    task = Task(X, {"": np.ones((1, 2), np.float32)})
    exact = {OUTPUT: np.array([[1.0, 2.0]])}
    base = References(module, task, exact, exact, {OUTPUT: 0.0}, [])
    assert precision.granted(base) is base
    for name, stored in (("tf32", 0.0), ("bfloat16", 2.0**-8 * 2)):
        given = precision.granted(replace(base, task=replace(task, format=name)))
        unit = {"tf32": 2.0**-11, "bfloat16": 2.0**-8}[name]
        # Both operands of 2·1 are off by half a unit, and in few bits stored as well.
        moved = 4 * 2 * ((1 + unit) ** (4 if stored else 2) - 1)
        assert given.budgets[OUTPUT] <= moved * 1.001 + stored
        assert given.budgets[OUTPUT] > 4 * 2 * unit + stored
    generous = replace(base, task=replace(task, format="tf32"), budgets={OUTPUT: 7.0})
    assert precision.granted(generous).budgets == {OUTPUT: 7.0}


def test_what_is_kept_in_few_bits_is_rounded_and_whole_numbers_are_not() -> None:
    module = nn.Linear(2, 1).double()
    with torch.no_grad():
        module.bias.fill_(1 + 2.0**-9)
    task = Task(np.zeros((1, 2)), {"": np.ones((1, 1))})
    rounded, *moved = precision.rounded_runs(module, task, precision.FORMATS["bfloat16"])
    assert rounded[OUTPUT] == 1
    assert len(moved) == 3
    assert all(abs(run[OUTPUT] - (1 + 2.0**-9)) > 2.0**-9 for run in moved)
    tokens = Task(np.array([1, 2]), {"": np.ones((2, 3))}, dtype=np.float64)
    table = nn.Embedding(4, 3).double()
    rounded, *_ = precision.rounded_runs(table, tokens, precision.FORMATS["bfloat16"])
    expected = table.weight.detach()[[1, 2]].bfloat16().double().numpy()
    np.testing.assert_array_equal(rounded[OUTPUT], expected)


def test_an_infinite_input_moves_no_finite_one() -> None:
    task = Task(np.array([[np.inf, 0.0], [1.0, 2.0]]), {"": np.ones((2, 2))})
    module = nn.Linear(2, 2, bias=False).double()
    weight = module.weight.detach()
    exact = torch.tensor([[1.0, 2.0]], dtype=DOUBLE) @ weight.T
    # By half a step of the weights' grid where they are kept, and again in the product.
    most = 2 * float(weight.abs().max()) / 127 / 2 * 3
    for run in precision.rounded_runs(module, task, precision.FORMATS["int8"])[1:]:
        assert np.abs(run[OUTPUT][1] - exact.numpy()).max() <= 1.01 * most


def test_departures_that_cannot_be_meant() -> None:
    module = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2, momentum=None), nn.Linear(2, 2))
    check(module, {"0.running_var": "biased", "gradient of input[0]": "absent"})
    biased = "that is for the running_var of a batch normalisation with a momentum"
    for expect, sentence in (
        ({"0.running_var": "odd"}, "0.running_var is 'odd', and known are biased, absent"),
        ({"0.weight": "absent"}, "0.weight cannot be absent: absent is for a gradient of input"),
        ({"0.running_mean": "biased"}, f"0.running_mean cannot be biased: {biased}"),
        ({"1.running_var": "biased"}, f"1.running_var cannot be biased: {biased}"),
        ({"2.running_var": "biased"}, f"2.running_var cannot be biased: {biased}"),
        ({"9.running_var": "biased"}, f"9.running_var cannot be biased: {biased}"),
    ):
        with pytest.raises(ParityError) as caught:
            check(module, expect)
        assert str(caught.value) == f"expect: {sentence}"
    check(nn.BatchNorm1d(2), {"running_var": "biased"})
    names = {
        "gradient of input[0]": "absent",
        "0.running_var": "biased",
        "gradient of input": "absent",
    }
    assert absent(names) == {"[0]", ""}


def test_a_summed_matrix_keeps_its_shape_and_what_is_none_stays() -> None:
    module = nn.LSTM(2, 2)
    names = resolve({("weight_ih_l0", "weight_hh_l0"): summed("W", "T")}, module)
    w = np.arange(16.0).reshape(2, 8)
    both = names.to_torch({"W": w})
    for name in ("weight_ih_l0", "weight_hh_l0"):
        np.testing.assert_array_equal(both[name], w.T)
    assert names.to_torch({"W": 3.5}) == {"weight_ih_l0": 3.5, "weight_hh_l0": 3.5}


def test_arrays_are_the_same_where_they_are_the_same_memory() -> None:
    x = np.arange(6.0).reshape(2, 3)
    assert _same(x, x)
    assert _same(x.T, x.T)
    assert not _same(x, x.copy())
    assert not _same(x, x.T)
    assert not _same(x.tolist(), x.tolist())
    assert not _same(x, None)


def test_the_witnesses_rows() -> None:
    found = {each.title: each for each in witnesses()}
    assert len(found) == len(witnesses()) > 4
    for each in found.values():
        assert isinstance(each.input, tuple)
        assert all(isinstance(row.shape, tuple) for row in each.layers)
        assert sum(row.parameters for row in each.layers) == each.parameters
