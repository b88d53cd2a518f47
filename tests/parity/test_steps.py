"""Training, step by step, of both sides: what is read, in which order, and how much is granted."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import numpy_models
from parity import DisagreementError, ParityError, Recipe, assert_trajectory, follow
from parity.perturbation import InnerDimensions, Probe
from parity.steps import numpy_steps, torch_steps
from parity.task import Task
from parity.tolerance import TensorCheck
from parity.trajectory import Trajectory, _blame_update, _longest_sum

DOUBLE = torch.float64


class Times(nn.Module):
    """y = w·x with a buffer that counts the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Module()
        self.inner.w = nn.Parameter(torch.tensor([3.0, 5.0]))
        self.register_buffer("calls", torch.zeros(1, dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.inner.w * x


class Scale:
    """The same in NumPy."""

    def __init__(self, dtype: Any = np.float64) -> None:
        self.w, self.dw, self.calls = np.zeros(2, dtype), np.zeros(2), np.zeros(1, int)
        self.modes: list[str] = []

    def train(self) -> None:
        self.modes.append("train")

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.calls += 1
        self.x = x
        return self.w * x

    def backward(self, dy: np.ndarray) -> np.ndarray:
        self.dw = (dy * self.x).sum(0)
        return dy * self.w

    def parameters(self) -> dict[str, np.ndarray]:
        return {"inner.w": self.w}

    def gradients(self) -> dict[str, np.ndarray]:
        return {"inner.w": self.dw}

    def buffers(self) -> dict[str, np.ndarray]:
        return {"calls": self.calls}


class Momentum:
    """SGD with momentum, whose rate is called α and whose velocity is shown under its parameter."""

    def __init__(self, network: Any, alpha: float = 0.5, beta: float = 0.5) -> None:
        self.network, self.alpha, self.beta = network, alpha, beta
        self.v = {name: np.zeros_like(p) for name, p in network.parameters().items()}

    def step(self) -> None:
        for name, p in self.network.parameters().items():
            self.v[name] = self.beta * self.v[name] + self.network.gradients()[name]
            p -= self.alpha * self.v[name]

    def state_dict(self) -> dict[str, Any]:
        shown = {f"{name}.v": value for name, value in self.v.items()}
        return {**shown, "inner.w.step": 7, "lr": self.alpha, "beta": self.beta}


class Silent(Momentum):
    def state_dict(self) -> dict[str, Any]:
        return {}


class Halving:
    def __init__(self, optimizer: Momentum) -> None:
        self.optimizer = optimizer

    def step(self) -> None:
        self.optimizer.alpha /= 2


class Squares:
    def forward(self, y: np.ndarray, targets: np.ndarray) -> Any:
        self.d = y - targets
        return (self.d**2).mean()

    def backward(self) -> np.ndarray:
        return 2 * self.d / self.d.size


RECIPE = Recipe(
    torch_optimizer=partial(torch.optim.SGD, lr=0.5, momentum=0.5),
    numpy_optimizer=Momentum,
    torch_criterion=nn.MSELoss(),
    numpy_criterion=Squares(),
    torch_schedule=partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5),
    numpy_schedule=Halving,
    epoch_steps=2,
    states={"momentum_buffer": "v", "learning rate": "alpha"},
)
BATCHES = [(np.array([[1.0, 2.0]]) + n, np.array([[1.0, -1.0]])) for n in range(5)]
PLACES = [
    *(("", "loss"), ("", "learning rate"), ("inner", "w"), ("inner", "momentum_buffer of w")),
    ("", "calls"),
]


def by_hand() -> list[tuple[float, float, np.ndarray, np.ndarray]]:
    w, v, rate, found = np.array([3.0, 5.0]), np.zeros(2), 0.5, []
    for number, (x, targets) in enumerate(BATCHES):
        d = w * x - targets
        v = 0.5 * v + (d * x).sum(0)
        w = w - rate * v
        found.append(((d**2).mean(), rate, w, v))
        rate *= 0.5 if number % 2 else 1
    return found


def test_both_sides_are_read_under_torchs_names_after_each_step() -> None:
    module, side = Times(), Scale()
    side.w[...] = 3, 5
    steps = (
        list(torch_steps(module, BATCHES, RECIPE, 0, DOUBLE)),
        list(numpy_steps(side, BATCHES, RECIPE, 0, np.dtype(np.float64))),
    )
    for made in steps:
        assert len(made) == len(BATCHES)
        for number, (tensors, expected) in enumerate(zip(made, by_hand(), strict=True), start=1):
            assert sorted(tensors) == sorted(PLACES)
            for place, value in zip(PLACES, (*expected, [number]), strict=True):
                np.testing.assert_allclose(tensors[place], value, rtol=1e-12)
    assert side.modes == ["train"]
    assert module.calls == 0
    assert torch.equal(module.inner.w, torch.tensor([3.0, 5.0]))
    assert [tensors["inner", "w"][0] for tensors in steps[0]] == [w[0] for *_, w, _ in by_hand()]
    single = next(iter(numpy_steps(Scale(), BATCHES, RECIPE, 0, np.dtype(np.float32))))
    assert single["", "loss"].dtype == np.float32


@pytest.mark.filterwarnings("error")
def test_of_numbers_too_large_nobody_is_warned() -> None:
    large = [(x * 1e200, targets) for x, targets in BATCHES]
    *_, last = numpy_steps(Scale(), large, RECIPE, 0, np.dtype(np.float64))
    assert np.isnan(last["inner", "w"]).all()


def test_what_is_not_shown_is_not_read() -> None:
    blind = Recipe(**{**vars(RECIPE), "states": {"momentum_buffer": None, "learning rate": None}})
    theirs = next(iter(torch_steps(Times(), BATCHES, blind, 0, DOUBLE)))
    assert sorted(theirs) == sorted([PLACES[0], PLACES[2], PLACES[4]])
    ours = next(iter(numpy_steps(Scale(), BATCHES, blind, 0, np.dtype(np.float64))))
    assert ("", "learning rate") not in ours
    assert ("inner", "v of w") in ours  # under its own name, which torch does not know
    silent = Recipe(**{**vars(RECIPE), "numpy_optimizer": Silent})
    for how, told in (
        (blind, "v of w: only NumPy has it"),
        (silent, f"{PLACES[3][1]}: only torch"),
    ):
        _, line = str(follow(Times(), Scale(), BATCHES, how)).splitlines()
        assert line.startswith(f"  Times, step 1, layer inner, {told}")
    assert [RECIPE.shows(name) for name in ("momentum_buffer", "other")] == [True, True]
    assert [blind.shows(name) for name in ("momentum_buffer", "other")] == [False, True]


def test_a_buffer_that_numpy_lacks_is_not_followed() -> None:
    class Uncounted(Scale):
        def buffers(self) -> dict[str, np.ndarray]:
            return {}

    held = follow(Times(), Uncounted(), BATCHES, RECIPE, names={"calls": None})
    assert [[(c.layer, c.tensor) for c in step] for step in held.steps] == [PLACES[:4]] * 5
    assert held.passed


def test_twins_move_their_weights_at_the_start_and_after_every_step() -> None:
    still = torch_steps(Times(), BATCHES, RECIPE, 0, DOUBLE)
    probe = Probe({}, 1e-3, 0)
    moved = torch_steps(Times(), BATCHES, RECIPE, 0, DOUBLE, probe)
    first, other = next(still), next(moved)
    change = np.abs(other["inner", "w"] / first["inner", "w"] - 1)
    assert (change > 5e-4).all()
    assert (change < 0.05).all()
    assert other["", "loss"] != first["", "loss"]
    assert torch.get_default_dtype() == torch.float32


def test_a_trajectory_in_full() -> None:
    held = follow(Times(), Scale(), BATCHES, RECIPE, name="mine")
    assert str(held).startswith("mine: 5 steps agree, closest call: mine, step ")
    assert [[(c.layer, c.tensor) for c in step] for step in held.steps] == [PLACES] * 5
    late = Recipe(**{**vars(RECIPE), "numpy_schedule": None})
    lost = follow(Times(), Scale(), BATCHES, late)
    assert len(lost.steps) == 3
    head, *lines = str(lost).splitlines()
    assert head == "Times: step 3 is the first to leave the envelope"
    rate = (
        "Times, step 3, learning rate: worst at []: torch 0.25, NumPy 0.5, error 0.25, tolerance "
        "4.44e-16 (5.63e+14 of it used)"  # of the first rate: an envelope never narrows
    )
    assert lines[0] == f"  {rate}"
    assert len(lines) == len(lost.failures) == 2
    with pytest.raises(DisagreementError) as caught:
        assert_trajectory(Times(), Scale(), BATCHES, late)
    assert caught.value.culprits == ["schedule"]
    told = "culprit: schedule, as loss and gradients are right at this step"
    assert str(caught.value).splitlines()[0] == f"{told}: {rate}"


def test_what_is_granted_without_twins_grows_with_the_steps_and_never_shrinks() -> None:
    """In float64, where torch is its own reference, only the rounding of sums is left."""
    held = follow(Times(), Scale(), BATCHES, RECIPE, probes=0)
    eps, most = float(np.finfo(np.float64).eps), np.zeros(5)
    for number, (checks, expected) in enumerate(zip(held.steps, by_hand(), strict=True), start=1):
        sizes = [float(np.abs(value).max()) for value in (*expected, np.array(number))]
        roots = [(8 * number + 2) ** 0.5, 4, *[(8 * number) ** 0.5] * 3]
        most = np.maximum(most, np.array(roots) * eps * np.array(sizes))
        np.testing.assert_allclose([check.budget for check in checks], most, rtol=1e-9)


def test_a_loss_that_is_a_plain_number_is_rounded_to_the_dtype_followed() -> None:
    class Plain(Squares):
        def forward(self, y: np.ndarray, targets: np.ndarray) -> float:
            return float(super().forward(y.astype(np.float64), targets)) + 1e-9

        def backward(self) -> np.ndarray:
            return super().backward().astype(np.float32)

    how = Recipe(**{**vars(RECIPE), "numpy_criterion": Plain()})
    steps = [(x.astype(np.float32) / 3, targets) for x, targets in BATCHES[:1]]
    loss, *_ = follow(Times(), Scale(np.float32), steps, how).steps[0]
    assert loss.tensor == "loss"
    assert loss.numpy_value == float(np.float32(loss.numpy_value))


def test_a_wrong_update_and_a_wrong_layer_are_told_apart() -> None:
    wrong = Recipe(**{**vars(RECIPE), "numpy_optimizer": partial(Momentum, beta=0.51)})
    with pytest.raises(DisagreementError) as caught:
        assert_trajectory(Times(), Scale(), BATCHES, wrong, name="mine")
    first, second, *_ = str(caught.value).splitlines()
    told = "culprit: optimizer, as loss and gradients are right at this step: mine, step 2"
    assert first.startswith(f"{told}, layer inner, momentum_buffer of w: worst at [1]: torch ")
    assert second == "mine: step 2 is the first to leave the envelope"
    assert caught.value.culprits == ["optimizer"]

    class Late(Scale):
        """Right for the first batches; its numbers grow."""

        def backward(self, dy: np.ndarray) -> np.ndarray:
            dx = super().backward(dy)
            self.dw = self.dw * (1 + 0.01 * (self.x[0, 0] == 3))
            return dx

    single = [(x, targets.astype(np.float32)) for x, targets in BATCHES[2:3]]
    with pytest.raises(DisagreementError, match="step 1 is the first to leave the envelope"):
        assert_trajectory(Times(), Late(), single, RECIPE)
    with pytest.raises(DisagreementError) as caught:
        assert_trajectory(Times(), Late(), BATCHES, RECIPE)
    assert caught.value.culprits == ["inner"]
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("culprit: inner, the only place that is wrong: Times, layer inner, ")
    x, targets = BATCHES[2]
    dw = ((by_hand()[1][2] * x - targets) * x)[0]  # on the weights of step 2, to the last digit
    assert any(f"torch {value:.9g}, NumPy {1.01 * value:.9g}," in lines[0] for value in dw)
    assert "Times: step 3 is the first to leave the envelope" in lines


def test_three_twins_and_before_a_verdict_twelve() -> None:
    made: list[int] = []

    def counted(parameters: Any) -> torch.optim.Optimizer:
        made.append(1)
        return torch.optim.SGD(parameters, lr=0.5, momentum=0.5)

    how = Recipe(**{**vars(RECIPE), "torch_optimizer": counted})
    late = Recipe(**{**vars(how), "numpy_schedule": None})
    for dtype, runs in ((np.float64, 1), (np.float32, 2)):  # in float64 torch is the reference
        steps = [(x.astype(dtype), targets.astype(dtype)) for x, targets in BATCHES]
        made.clear()
        assert follow(Times(), Scale(dtype), steps, how).passed
        assert len(made) == runs + 3
        made.clear()
        assert not follow(Times(), Scale(dtype), steps, late).passed
        assert len(made) == runs + 3 + runs + 12


def test_a_wrong_rate_is_told_before_what_comes_of_it() -> None:
    def check(tensor: str) -> TensorCheck:
        return TensorCheck("net, step 1", "", tensor, (), 1.0, 2.0, 1.0, 0.5)

    told = "culprit: {}, as loss and gradients are right at this step: {}"
    rate, state, weight = check("learning rate"), check("exp_avg of w"), check("w")
    for checks, culprit, first in (
        ([weight, state, rate], "schedule", rate),
        ([weight, state], "optimizer", state),
        ([weight], "optimizer", weight),
    ):
        blamed = _blame_update(Trajectory("net", [checks]))
        assert blamed == (told.format(culprit, first), [culprit])


def test_dropout_is_shared_by_seed_and_step() -> None:
    module = nn.Sequential(nn.Linear(2, 9), nn.Dropout(0.5), nn.Linear(9, 2))
    layers = numpy_models.Linear(2, 9), numpy_models.Dropout(0.5), numpy_models.Linear(9, 2)
    how = Recipe(
        torch_optimizer=partial(torch.optim.SGD, lr=0.1),
        numpy_optimizer=partial(numpy_models.SGD, lr=0.1),
        torch_criterion=nn.MSELoss(),
        numpy_criterion=numpy_models.MSELoss(),
    )
    network = numpy_models.Sequential(*layers).to(np.float64)
    losses = [
        [step[0].torch_value for step in follow(module, network, BATCHES, how, seed=seed).steps]
        for seed in (0, 1, 0)
    ]
    assert losses[0] == losses[2] != losses[1]


@pytest.mark.parametrize(
    ("place", "length"),
    [
        (("a", "exp_avg of weight"), 7),
        (("a", "running_mean"), 5),
        (("a", "weight"), 0),
        (("b", "exp_avg of weight"), 0),
        (("", "loss"), 0),
    ],
)
def test_the_sums_behind_what_training_keeps(place, length) -> None:
    assert _longest_sum(place, {"a": InnerDimensions(5, 7)}) == length


def test_a_trajectory_needs_batches() -> None:
    with pytest.raises(ParityError, match="a trajectory needs at least one batch"):
        follow(Times(), Scale(), [], RECIPE)
    assert Task(BATCHES[0][0]).dtype == np.float64
