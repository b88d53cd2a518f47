"""Train both sides for some steps and find the first tensor that leaves the envelope.

Training amplifies rounding: a parameter whose true gradient is zero wanders under Adam, a unit near
a kink switches. What may differ at a step is therefore measured, by `parity.tolerance`'s rule
applied to whole trajectories: a float64 torch run is the reference, torch in the tested dtype shows
its own drift, and float64 twins, whose weights are moved by one unit in the last place at the start
and after every step and whose layers compute with changed operands, show how far rounding can carry
each tensor. Each of these runs is one sample of how far rounding may carry it, so NumPy's drift may
be 4 times the largest of theirs. The envelope never narrows from one step to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import tee
from typing import Any

import numpy as np
import torch
from torch import nn

from parity.assertions import accuse, examine
from parity.pair import Pair, check_inputs
from parity.perturbation import InnerDimensions, Probe
from parity.protocol import DisagreementError, Network, ParityError, check_network
from parity.runs import clone, observe
from parity.steps import Batch, Recipe, numpy_steps, torch_steps
from parity.task import Setting, Task, place_of
from parity.tolerance import FACTOR, TensorCheck, Tensors, fault, floor, judge, movement
from parity.transfer import renamed, to_array, to_numpy
from parity.trees import mapped, named

_RECOUNT = 4
_ROUNDINGS = 8  # arithmetic operations between a gradient and its weight in one step of Adam


@dataclass(frozen=True)
class Trajectory:
    """The verdicts on the tensors of each step of a pair, up to the first step that fails."""

    network: str
    steps: list[list[TensorCheck]]

    @property
    def failures(self) -> list[TensorCheck]:
        """The failed checks of the first step that has any."""
        return [check for check in self.steps[-1] if not check.passed]

    @property
    def passed(self) -> bool:
        """Whether no tensor ever left the envelope."""
        return not self.failures

    def __str__(self) -> str:
        if self.passed:
            worst = max((c for step in self.steps for c in step), key=lambda c: c.share)
            return f"{self.network}: {len(self.steps)} steps agree, closest call: {worst}"
        head = f"{self.network}: step {len(self.steps)} is the first to leave the envelope"
        return "\n".join([head, *(f"  {check}" for check in self.failures)])


def follow(
    torch_module: nn.Module,
    numpy_network: Network,
    batches: Sequence[Batch],
    recipe: Recipe,
    *,
    seed: int = 0,
    name: str | None = None,
    names: Mapping[Any, Any] | None = None,
    probes: int = 3,
) -> Trajectory:
    """Train both sides on the same batches; compare loss, rate, parameters, state and buffers.

    Torch's parameters and buffers are first copied into the NumPy network, which is trained in
    place; the torch module is left as it was. Dropout masks are shared.

    Args:
        torch_module: the network on torch's side.
        numpy_network: the network on NumPy's side, in the batches' dtype.
        batches: (inputs, targets) of each step, arrays or tensors.
        recipe: losses, optimizers and schedules.
        seed: seed of the dropout masks.
        name: what messages call the pair.
        names: as in `Pair`; the optimizer's states follow them.
        probes: number of perturbed twins; four times as many before a verdict against NumPy.

    Raises:
        ParityError: if the two sides do not match, or there is no batch or an empty one.
    """
    check_network(numpy_network)
    if not batches:
        raise ParityError("a trajectory needs at least one batch")
    batches = [
        (mapped(lambda _, t: to_array(t), x, torch.Tensor), to_array(targets))
        for x, targets in batches
    ]
    dtypes = [check_inputs(inputs, numpy_network) for inputs, _ in batches]
    task = Task(batches[0][0], seed=seed, dtype=dtypes[0])
    module = clone(torch_module, task.precision, train=True)
    network = renamed(module, numpy_network, names)
    setting = Setting(name or type(torch_module).__name__, module, network, task)
    walk = _walk(setting, batches, recipe, probes)
    if walk.passed:
        return walk
    # A few twins may have missed where rounding can lead: before a verdict, many are asked. They
    # run no further than the step in question.
    return _walk(setting, batches, recipe, _RECOUNT * probes)


def _walk(setting: Setting, batches: Sequence[Batch], recipe: Recipe, probes: int) -> Trajectory:
    module, network, task = setting.module, setting.network, setting.task
    to_numpy(module, network)
    epsilon = float(np.finfo(task.dtype).eps)
    dimensions, y = observe(module, task)
    outputs = named(y, torch.Tensor).values()
    run = partial(torch_steps, module, batches, recipe, task.seed)
    twins = [run(torch.float64, Probe(dimensions, epsilon, number)) for number in range(probes)]
    result = numpy_steps(network, batches, recipe, task.seed, task.dtype)
    envelope: dict[tuple[str, str], float] = {}
    steps: list[list[TensorCheck]] = []
    reference, own = run(torch.float64), run(task.precision)
    if task.precision == torch.float64:  # of which one is enough
        reference, own = tee(reference)
    for r, t, a, *trials in zip(reference, own, result, *twins, strict=True):
        number = len(steps) + 1
        for place, value in r.items():
            sums = _longest_sum(place, dimensions)
            if place == ("", "loss"):
                sums = sum(leaf.numel() for leaf in outputs)
            length = _ROUNDINGS * number + sums
            drift = max(movement(other[place], value) for other in (t, *trials))
            granted = max(floor(value, [], length, epsilon), FACTOR * drift)
            if place == ("", "learning rate"):  # kept in double precision on both sides
                granted = 4 * float(np.finfo(np.float64).eps) * abs(float(value))
            envelope[place] = max(granted, envelope.get(place, 0.0))
        for absent in getattr(network, "absent", ()):
            del r[place_of(absent)]
        steps.append(_judge_step(f"{setting.name}, step {number}", r, t, a, envelope))
        if any(not check.passed for check in steps[-1]):
            break
    return Trajectory(setting.name, steps)


def assert_trajectory(
    torch_module: nn.Module,
    numpy_network: Network,
    batches: Sequence[Batch],
    recipe: Recipe,
    *,
    layers: Mapping[str, Any] | None = None,
    **options: Any,
) -> Trajectory:
    """Do as `follow`, and raise DisagreementError naming the culprit, first step and tensors.

    At the first step that fails, both sides are compared with each other as `assert_parity` does,
    on torch's weights before that step; where all is right, the update is to blame.
    """
    trajectory = follow(torch_module, numpy_network, batches, recipe, **options)
    if trajectory.passed:
        return trajectory
    before, seed = len(trajectory.steps) - 1, options.get("seed", 0)
    dtype = Task(batches[0][0], dtype=check_inputs(batches[0][0], numpy_network)).precision
    trained = clone(torch_module, dtype, train=True)
    for tensors in torch_steps(torch_module, batches[:before], recipe, seed, dtype):
        state = {".".join(filter(None, place)): value for place, value in tensors.items()}
        trained.load_state_dict({name: torch.tensor(state[name]) for name in trained.state_dict()})
    pair = trained, numpy_network, *batches[before], recipe.torch_criterion, recipe.numpy_criterion
    how = {"layers": layers, "names": options.get("names"), "seed": seed, "vary": False}
    comparison = examine(Pair(*pair, **how).setting())
    failed = bool(comparison.failures)
    verdict, culprits = accuse(comparison) if failed else _blame_update(trajectory)
    raise DisagreementError(f"{verdict}\n{trajectory}", culprits, trajectory)


def _blame_update(trajectory: Trajectory) -> tuple[str, list[str]]:
    """Tell a wrong rate from a wrong update."""
    failed = {check.tensor: check for check in trajectory.failures}
    culprit = "schedule" if "learning rate" in failed else "optimizer"
    first = failed.get("learning rate") or next(
        (check for check in trajectory.failures if " of " in check.tensor), trajectory.failures[0]
    )
    told = f"culprit: {culprit}, as loss and gradients are right at this step: {first}"
    return told, [culprit]


def _longest_sum(place: tuple[str, str], dimensions: dict[str, InnerDimensions]) -> int:
    """Return the inner dimension behind a buffer or a parameter's optimizer state."""
    layer, tensor = place
    if layer not in dimensions:
        return 0
    if " of " in tensor:
        return dimensions[layer].backward
    return dimensions[layer].forward if tensor.startswith("running") else 0


def _judge_step(
    name: str, r: Tensors, t: Tensors, a: Tensors, envelope: dict[tuple[str, str], float]
) -> list[TensorCheck]:
    checks = [judge(name, *p, a[p], t[p], r[p], envelope[p]) for p in r if p in a]
    checks += [fault(name, *place, "only torch has it") for place in r if place not in a]
    checks += [fault(name, *place, "only NumPy has it") for place in a if place not in r]
    return checks
