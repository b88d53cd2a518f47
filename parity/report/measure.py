"""Measure networks: every tensor, every layer alone and a training, in both dtypes and modes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from parity import networks
from parity.assertions import assert_agreement
from parity.comparison import hold
from parity.localisation import kind_of_part, parts
from parity.networks import NetworkCase, batches, optimizer_of, recipe
from parity.numpy_runs import run_numpy
from parity.pair import Pair
from parity.protocol import DisagreementError, ParityError
from parity.references import references
from parity.report import figures
from parity.report.drawing import lay_out
from parity.task import Setting
from parity.tolerance import movement
from parity.trajectory import Trajectory, assert_trajectory
from parity.transfer import to_numpy
from parity.witness import witnesses

DTYPES = ("float32", "float64")
#: float64 runs from weights moved by a unit in the last place, which measure an envelope.
TWINS = 3
Factory = Callable[..., Pair]
_Measured = tuple[figures.Tensor, np.ndarray | None]


class _Candidate(NamedTuple):
    """A tensor that may be drawn: whether its layer is wrong by itself, verdict and errors."""

    guilty: bool
    tensor: figures.Tensor
    errors: np.ndarray
    where: str

    @property
    def rank(self) -> tuple[bool, bool, float]:
        return self.guilty, *self.tensor.rank


def measure(case: NetworkCase, seed: int, factory: Factory = networks.pair) -> figures.Network:
    """Measure one network; a pair that cannot be made or compared is a finding too.

    Args:
        case: the network.
        seed: of weights, images, targets and dropout masks.
        factory: makes the pair from `arguments_of`.
    """
    start = time.perf_counter()
    known = witnesses()
    matching = [w for w in known if w.title == str(case)]
    matching += [w for w in known if w.network == case.name]
    facts: dict[str, Any] = {
        "name": str(case),
        "report": matching[0].report if matching else "",
        "input": case.input,
    }
    runs: list[figures.Run] = []
    trainings: list[figures.Training] = []
    worst: list[_Candidate] = []
    try:
        module = _made(factory, case, DTYPES[0], seed).torch_module
        for dtype in DTYPES:
            for train in (True, False):
                run, candidates = _run(_made(factory, case, dtype, seed), train)
                runs.append(run)
                worst += sorted(candidates, key=lambda candidate: candidate.rank)[-1:]
        for dtype in DTYPES:
            trainings.append(_training(case, _made(factory, case, dtype, seed), seed))
    except ParityError as error:
        return figures.Network(**facts, seconds=time.perf_counter() - start, problem=str(error))
    drawn = None
    if worst:
        chosen = max(worst, key=lambda candidate: candidate.rank)
        cells, layout = lay_out(chosen.errors)
        drawn = figures.HeatMap(chosen.tensor, chosen.where, layout, cells)
    return figures.Network(
        **facts,
        seconds=time.perf_counter() - start,
        kind=type(module).__name__,
        parameters=sum(p.numel() for p in module.parameters()),
        runs=runs,
        trainings=trainings,
        heat_map=drawn,
    )


def arguments_of(case: NetworkCase, dtype: str, seed: int) -> dict[str, Any]:
    """Return the arguments with which `parity.networks.pair` makes a case, fit for JSON."""
    return {"name": case.name, "dtype": dtype, "seed": seed, **case.arguments}


def _made(factory: Factory, case: NetworkCase, dtype: str, seed: int) -> Pair:
    try:
        return factory(**arguments_of(case, dtype, seed))
    except Exception as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ParityError(f"{case} cannot be built on both sides: {kind}{error}") from error


def _run(pair: Pair, train: bool) -> tuple[figures.Run, list[_Candidate]]:
    """Measure the whole network and each layer alone; return also what may be drawn."""
    setting = pair.setting(train)
    whole = _tensors(setting)
    run = figures.Run(pair.inputs.dtype.name, train, [tensor for tensor, _ in whole], [])
    candidates = _candidates(whole, run.title, guilty=False)
    for part in parts(setting):
        alone = _tensors(part)
        output = next((dy.shape for dy in (part.task.upstream or {}).values()), ())
        measured = [tensor for tensor, _ in alone]
        layer = figures.Layer(part.layer, kind_of_part(part), output, measured)
        run.layers.append(layer)
        candidates += _candidates(alone, f"{run.title}, the layer alone", not layer.passed)
    if not run.passed:
        verdict, culprits = _accused(setting) or _guilty(run.layers)
        run = replace(run, culprits=culprits, verdict=verdict)
    return run, candidates


def _candidates(measured: list[_Measured], where: str, guilty: bool) -> list[_Candidate]:
    return [
        _Candidate(guilty, tensor, errors, where)
        for tensor, errors in measured
        if errors is not None and errors.size > 1
    ]


def _accused(setting: Setting) -> tuple[str, list[str]] | None:
    """Return the verdict on the whole network and its culprits; None if it agrees."""
    try:
        assert_agreement(setting)
    except DisagreementError as error:
        return _culprit_lines(error), error.culprits
    return None


def _guilty(layers: list[figures.Layer]) -> tuple[str, list[str]]:
    """Return the verdict where only layers by themselves disagree."""
    names = [layer.name for layer in layers if not layer.passed]
    return f"culprit: {', '.join(names)}, wrong alone though the network agrees", names


def _culprit_lines(error: DisagreementError) -> str:
    """Return the lines of a message that name culprits."""
    lines = [line for line in str(error).splitlines() if line.startswith("culprit")]
    return "\n".join(lines)


def _tensors(setting: Setting) -> list[_Measured]:
    """Return each tensor's figures, and NumPy's errors where both sides have the tensor.

    The verdict is the harness's own; the passes are made once more for the numbers behind it.
    """
    module, network, task = setting.module, setting.network, setting.task
    checks = hold(replace(setting, name="")).checks
    given = references(module, task, probes=0)
    own, reference = given.own, given.exact
    to_numpy(module, network)
    try:
        result = run_numpy(network, task)
    except ParityError:
        result = {}
    double = task.dtype == np.float64
    measured = []
    for check in checks:
        place = check.layer, check.tensor
        value, errors, torch_error = result.get(place), None, None
        if place in own and not double:
            torch_error = movement(own[place], reference[place])
        if place in own and isinstance(value, np.ndarray) and value.shape == own[place].shape:
            with np.errstate(invalid="ignore", over="ignore"):
                errors = np.abs(value.astype(np.float64) - reference[place])
        shape = () if value is None else value.shape
        facts = {**vars(check), "layer": setting.layer or check.layer}
        tensor = figures.Tensor(**facts, shape=shape, torch_error=torch_error)
        measured.append((tensor, errors))
    return measured


def _training(case: NetworkCase, pair: Pair, seed: int) -> figures.Training:
    dtype = pair.inputs.dtype.name
    name, options = optimizer_of(case)
    facts = dtype, f"{name} ({', '.join(f'{key} {value}' for key, value in options.items())})"
    try:
        trajectory = assert_trajectory(
            pair.torch_module,
            pair.numpy_network,
            batches(case.input, dtype, seed),
            recipe(*optimizer_of(case)),
            seed=seed,
            name=pair.name,
            layers=pair.layers,
            probes=TWINS,
        )
    except DisagreementError as error:
        steps = _steps(error.finding)
        return figures.Training(*facts, steps, error.culprits, _culprit_lines(error))
    except Exception as error:  # a layer that raises is a finding too, and is recorded as one
        return figures.Training(*facts, [], [], f"stopped by {type(error).__name__}: {error}")
    return figures.Training(*facts, _steps(trajectory))


def _steps(trajectory: Trajectory) -> list[figures.Step]:
    steps = []
    for number, checks in enumerate(trajectory.steps, start=1):
        named = {(check.layer, check.tensor): check for check in checks}
        loss, rate = named["", "loss"], named["", "learning rate"]
        worst = max(checks, key=lambda check: (not check.passed, check.share))
        steps.append(
            figures.Step(
                number,
                rate.torch_value,
                loss.torch_value,
                loss.numpy_value,
                figures.Tensor(**vars(worst)),
            )
        )
    return steps
