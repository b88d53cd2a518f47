"""Training runs of either side, read out step by step as the same named tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from parity import shared_masks
from parity.perturbation import Probe, nudge, nudge_logits, perturbed
from parity.protocol import Criterion, Network, Optimizer, set_mode
from parity.runs import arithmetic, array_of, clone, saved_buffers, torch_targets
from parity.task import place_of
from parity.tolerance import Tensors
from parity.transfer import Renamed, unwrapped
from parity.trees import call_of, mapped

Batch = tuple[Any, np.ndarray]


@dataclass(frozen=True)
class Recipe:
    """How to train, said once for each side.

    Attributes:
        torch_optimizer, numpy_optimizer: make an optimizer, of a module's parameters and of a
            NumPy network.
        torch_criterion, numpy_criterion: the loss, mean reduction.
        torch_schedule, numpy_schedule: make the optimizer's schedule; None for a constant rate.
        epoch_steps: optimizer steps between two steps of the schedule.
        states: NumPy's names for the optimizer's states by torch's, such as ``{"exp_avg": "m"}``,
            and for the attribute ``lr`` by "learning rate"; None for one that NumPy does not show,
            which is then not compared.
    """

    torch_optimizer: Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer]
    numpy_optimizer: Callable[[Any], Optimizer]
    torch_criterion: Callable[[Tensor, Tensor], Tensor]
    numpy_criterion: Criterion
    torch_schedule: Callable[[Any], Any] | None = None
    numpy_schedule: Callable[[Any], Any] | None = None
    epoch_steps: int = 1
    states: Mapping[str, str | None] = field(default_factory=dict)

    def shows(self, state: str) -> bool:
        """Return whether NumPy shows a state of torch's optimizer."""
        return self.states.get(state, state) is not None


def torch_steps(
    module: nn.Module,
    batches: Sequence[Batch],
    recipe: Recipe,
    seed: int,
    dtype: torch.dtype,
    probe: Probe | None = None,
) -> Iterator[Tensors]:
    """Train a copy of a torch module and give its tensors after each step."""
    module = clone(module, dtype, train=True)
    criterion = recipe.torch_criterion
    if isinstance(criterion, nn.Module):
        criterion = copy.deepcopy(criterion).to(dtype)
    optimizer = recipe.torch_optimizer(module.parameters())
    schedule = recipe.torch_schedule(optimizer) if recipe.torch_schedule else None
    with ExitStack() as stack:
        if probe is not None:
            stack.enter_context(perturbed(module, probe, parameters=False))
            _move_weights(module, probe)
        for number, (inputs, targets) in enumerate(batches, start=1):
            call = call_of(mapped(lambda _, x: torch_targets(x, dtype), inputs, np.ndarray))
            goals = torch_targets(targets, dtype)
            # Several runs go on side by side: what is changed for one is put back after each step.
            with shared_masks.on_torch(module, seed + number), arithmetic(dtype):
                outputs = module(*call.args, **call.kwargs)
                if probe is not None:
                    outputs = nudge_logits(outputs, goals, probe)
                loss = criterion(outputs, goals)
                optimizer.zero_grad()
                loss.backward()
            rate = optimizer.param_groups[0]["lr"]
            optimizer.step()
            if schedule is not None and number % recipe.epoch_steps == 0:
                schedule.step()
            if probe is not None:
                _move_weights(module, probe)
            yield _torch_tensors(module, optimizer, loss, float(rate), recipe)


def _move_weights(module: nn.Module, probe: Probe) -> None:
    """Move every weight by one unit in the last place of the tested dtype, up or down."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(nudge(parameter, probe.epsilon, probe.number))


def _torch_tensors(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Tensor,
    rate: float,
    recipe: Recipe,
) -> Tensors:
    tensors: Tensors = {("", "loss"): np.array(loss.detach().numpy())}
    if recipe.shows("learning rate"):
        tensors["", "learning rate"] = np.array(rate)
    for name, parameter in module.named_parameters():
        tensors[place_of(name)] = array_of(parameter)
        for kind, value in optimizer.state[parameter].items():
            if kind != "step" and isinstance(value, Tensor) and recipe.shows(kind):
                tensors[place_of(name, f"{kind} of ")] = array_of(value)
    return tensors | saved_buffers(module)


def numpy_steps(
    network: Network, batches: Sequence[Batch], recipe: Recipe, seed: int, dtype: np.dtype
) -> Iterator[Tensors]:
    """Train a NumPy network in place and give its tensors after each step, the loss in a dtype."""
    optimizer = recipe.numpy_optimizer(unwrapped(network))
    schedule = recipe.numpy_schedule(optimizer) if recipe.numpy_schedule else None
    rate_name = recipe.states.get("learning rate", "lr")
    set_mode(network, train=True)
    with np.errstate(all="ignore"):
        for number, (inputs, targets) in enumerate(batches, start=1):
            call = call_of(inputs)
            with shared_masks.on_numpy(network, seed + number):
                outputs = network.forward(*call.args, **call.kwargs)
                loss = recipe.numpy_criterion.forward(outputs, targets)
                network.backward(recipe.numpy_criterion.backward())
            rate = getattr(optimizer, rate_name) if rate_name else None
            optimizer.step()
            if schedule is not None and number % recipe.epoch_steps == 0:
                schedule.step()
            tensors: Tensors = {("", "loss"): np.asarray(loss, dtype)}
            if rate is not None:
                tensors["", "learning rate"] = np.array(float(rate))
            for name, value in {**network.parameters(), **network.buffers()}.items():
                tensors[place_of(name)] = np.array(value)
            yield tensors | _states(network, optimizer, recipe)


def _states(network: Network, optimizer: Optimizer, recipe: Recipe) -> Tensors:
    """Return a NumPy optimizer's state under torch's names for states and parameters.

    What belongs to no parameter and the number of steps are left out.
    """
    torch_names = {theirs: ours for ours, theirs in recipe.states.items()}
    kinds: dict[str, dict[str, Any]] = {}
    parameters = sorted(unwrapped(network).parameters(), key=len, reverse=True)
    for path, value in getattr(optimizer, "state_dict", dict)().items():
        for name in parameters:
            if path.endswith(f".{name}") or path.startswith(f"{name}."):
                kind = path.removesuffix(f".{name}").removeprefix(f"{name}.")
                kinds.setdefault(torch_names.get(kind, kind), {})[name] = np.array(value)
                break
    kinds.pop("step", None)
    tensors: Tensors = {}
    for kind, arrays in kinds.items():
        named = network.states(arrays) if isinstance(network, Renamed) else arrays
        tensors |= {place_of(name, f"{kind} of "): value for name, value in named.items()}
    return tensors
