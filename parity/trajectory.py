"""Train both sides for some steps and find the first tensor that leaves the envelope.

Training amplifies rounding: a parameter whose true gradient is zero wanders under Adam, a unit near
a kink switches. What may differ at a step is therefore measured, by `parity.tolerance`'s rule
applied to whole trajectories: a float64 torch run is the reference, torch in the tested dtype shows
its own drift, and float64 twins, whose weights are moved by one unit in the last place at the start
and after every step and whose layers compute with changed operands, show how far rounding can carry
each tensor. The envelope never narrows from one step to the next.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from parity import noise, tape
from parity.protocol import Criterion, Network, Optimizer, ParityError, check_network, set_mode
from parity.runs import Probe, Task, Tensors, clone, run_forward, torch_dtype, torch_targets
from parity.tolerance import FACTOR, TensorCheck, fault, floor, judge, movement
from parity.transfer import to_numpy

Batch = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Recipe:
    """How to train, said once for each side.

    Attributes:
        torch_optimizer: makes the optimizer of a module's parameters.
        numpy_optimizer: makes the optimizer of a NumPy network.
        torch_criterion: loss on torch's side, mean reduction.
        numpy_criterion: the same loss on NumPy's side.
        torch_schedule: makes the schedule of a torch optimizer; None for a constant rate.
        numpy_schedule: makes the schedule of a NumPy optimizer.
        epoch_steps: optimizer steps between two steps of the schedule.
    """

    torch_optimizer: Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer]
    numpy_optimizer: Callable[[Any], Optimizer]
    torch_criterion: Callable[[Tensor, Tensor], Tensor]
    numpy_criterion: Criterion
    torch_schedule: Callable[[Any], Any] | None = None
    numpy_schedule: Callable[[Any], Any] | None = None
    epoch_steps: int = 1


@dataclass(frozen=True)
class Trajectory:
    """The verdicts of each step, up to the first step that fails.

    Attributes:
        network: the pair's name.
        steps: the checks of each step, in order.
    """

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
    probes: int = 3,
) -> Trajectory:
    """Train both sides on the same batches; compare loss, rate, parameters, state and buffers.

    Torch's parameters and buffers are first copied into the NumPy network, which is trained in
    place; the torch module is left as it was. Dropout masks are shared.

    Args:
        torch_module: the network on torch's side.
        numpy_network: the network on NumPy's side, in the batches' dtype.
        batches: (inputs, targets) of each step.
        recipe: losses, optimizers and schedules.
        seed: seed of the dropout masks.
        name: what messages call the pair.
        probes: number of perturbed twins.

    Raises:
        ParityError: if the two sides do not match, or there is no batch.
    """
    check_network(numpy_network)
    if not batches:
        raise ParityError("a trajectory needs at least one batch")
    name = name or type(torch_module).__name__
    dtype = torch_dtype(batches[0][0])
    torch_module = clone(torch_module, dtype, train=True)
    to_numpy(torch_module, numpy_network)

    epsilon = float(np.finfo(batches[0][0].dtype).eps)
    observer = clone(torch_module, torch.float64, train=True)
    with noise.observed(observer) as dimensions:
        run_forward(observer, Task(batches[0][0], seed=seed))
    reference = _torch_steps(torch_module, batches, recipe, seed, torch.float64)
    own = _torch_steps(torch_module, batches, recipe, seed, dtype)
    twins = [
        _torch_steps(
            torch_module, batches, recipe, seed, torch.float64, Probe(dimensions, epsilon, number)
        )
        for number in range(probes)
    ]
    result = _numpy_steps(numpy_network, batches, recipe, seed)
    envelope: dict[tuple[str, str], float] = {}
    steps: list[list[TensorCheck]] = []
    for r, t, a, *trials in zip(reference, own, result, *twins, strict=True):
        number = len(steps) + 1
        for place, value in r.items():
            granted = floor(value, [trial[place] for trial in trials], number, epsilon)
            granted = max(granted, FACTOR * movement(t[place], value))
            if place == ("", "learning rate"):  # kept in double precision on both sides
                granted = 4 * float(np.finfo(np.float64).eps) * abs(float(value))
            envelope[place] = max(granted, envelope.get(place, 0.0))
        steps.append(_judge_step(f"{name}, step {number}", r, t, a, envelope))
        if any(not check.passed for check in steps[-1]):
            break
    return Trajectory(name, steps)


def assert_trajectory(*arguments: Any, **options: Any) -> Trajectory:
    """Do as `follow`, and raise AssertionError naming the first step and tensors that disagree."""
    trajectory = follow(*arguments, **options)
    if not trajectory.passed:
        raise AssertionError(str(trajectory))
    return trajectory


def _judge_step(
    name: str, r: Tensors, t: Tensors, a: Tensors, envelope: dict[tuple[str, str], float]
) -> list[TensorCheck]:
    checks = [judge(name, *p, a[p], t[p], r[p], envelope[p]) for p in r if p in a]
    checks += [fault(name, *place, "only torch has it") for place in r if place not in a]
    checks += [fault(name, *place, "only NumPy has it") for place in a if place not in r]
    return checks


def _torch_steps(
    module: nn.Module,
    batches: Sequence[Batch],
    recipe: Recipe,
    seed: int,
    dtype: torch.dtype,
    probe: Probe | None = None,
) -> Iterator[Tensors]:
    module = clone(module, dtype, train=True)
    criterion = recipe.torch_criterion
    if isinstance(criterion, nn.Module):
        criterion = copy.deepcopy(criterion).to(dtype)
    optimizer = recipe.torch_optimizer(module.parameters())
    schedule = recipe.torch_schedule(optimizer) if recipe.torch_schedule else None
    with ExitStack() as stack:
        stack.enter_context(tape.on_torch(module, seed))
        if probe is not None:
            settings = probe.dimensions, probe.epsilon, probe.number
            stack.enter_context(noise.perturbed(module, *settings, parameters=False))
            _move_weights(module, probe)
        for number, (inputs, targets) in enumerate(batches, start=1):
            outputs = module(torch.tensor(inputs, dtype=dtype))
            loss = criterion(outputs, torch_targets(targets, dtype))
            optimizer.zero_grad()
            loss.backward()
            rate = optimizer.param_groups[0]["lr"]
            optimizer.step()
            if schedule is not None and number % recipe.epoch_steps == 0:
                schedule.step()
            if probe is not None:
                _move_weights(module, probe)
            yield _torch_tensors(module, optimizer, loss, float(rate), dtype)


def _move_weights(module: nn.Module, probe: Probe) -> None:
    """Move every weight by one unit in the last place of the tested dtype, up or down."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(noise.nudge(parameter, probe.epsilon, probe.number))


def _torch_tensors(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Tensor,
    rate: float,
    dtype: torch.dtype,
) -> Tensors:
    tensors: Tensors = {
        ("", "loss"): np.array(loss.detach().numpy()),
        ("", "learning rate"): np.array(rate),
    }
    for name, parameter in module.named_parameters():
        layer, _, leaf = name.rpartition(".")
        tensors[layer, leaf] = np.array(parameter.detach().numpy())
        for kind, value in optimizer.state[parameter].items():
            if kind != "step" and isinstance(value, Tensor):
                tensors[layer, f"{kind} of {leaf}"] = np.array(value.numpy())
    saved = module.state_dict()
    for name, buffer in module.named_buffers():
        if name in saved:
            layer, _, leaf = name.rpartition(".")
            tensors[layer, leaf] = np.array(buffer.numpy())
    return tensors


def _numpy_steps(
    network: Network, batches: Sequence[Batch], recipe: Recipe, seed: int
) -> Iterator[Tensors]:
    optimizer = recipe.numpy_optimizer(network)
    schedule = recipe.numpy_schedule(optimizer) if recipe.numpy_schedule else None
    set_mode(network, train=True)
    with tape.on_numpy(network, seed):
        for number, (inputs, targets) in enumerate(batches, start=1):
            loss = recipe.numpy_criterion.forward(network.forward(inputs), targets)
            network.backward(recipe.numpy_criterion.backward())
            rate = optimizer.lr
            optimizer.step()
            if schedule is not None and number % recipe.epoch_steps == 0:
                schedule.step()
            tensors: Tensors = {
                ("", "loss"): np.asarray(loss, inputs.dtype),
                ("", "learning rate"): np.array(float(rate)),
            }
            for name, value in {**network.parameters(), **network.buffers()}.items():
                layer, _, leaf = name.rpartition(".")
                tensors[layer, leaf] = np.array(value)
            for key, value in optimizer.state_dict().items():
                kind, _, name = key.partition(".")
                if name:
                    layer, _, leaf = name.rpartition(".")
                    tensors[layer, f"{kind} of {leaf}"] = np.array(value)
            yield tensors
