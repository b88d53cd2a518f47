"""One forward and backward pass of either side, read out as the same named tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from traceback import walk_tb
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from parity import perturbation, shared_masks
from parity.decisions import Rounding
from parity.protocol import Criterion, Network, NumpyError, ParityError, kind_of, set_mode
from parity.tolerance import FACTOR, Place, Tensors, floor, movement


@dataclass(frozen=True)
class Task:
    """What both sides compute.

    Attributes:
        inputs: (N, …) floating-point array; its dtype is the one compared.
        upstream: gradient given to the output; None when a loss gives it.
        targets: the loss's targets, None without a loss.
        torch_criterion: the loss on torch's side.
        numpy_criterion: the loss on NumPy's side.
        train: training or evaluation mode.
        seed: seed of the dropout masks.
    """

    inputs: np.ndarray
    upstream: np.ndarray | None = None
    targets: np.ndarray | None = None
    torch_criterion: Callable[[Tensor, Tensor], Tensor] | None = None
    numpy_criterion: Criterion | None = None
    train: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Setting:
    """Both sides of a pair, or of one of its layers, ready to run.

    Attributes:
        name: what messages call it.
        module: the torch side, a copy in the task's dtype and mode.
        network: the NumPy side.
        task: what both compute, with the upstream gradient where no loss gives one.
        layers: NumPy layer by torch's name, None to look for them in the network.
        layer: the layer's name, or "loss"; empty for a whole pair.
    """

    name: str
    module: nn.Module
    network: Any
    task: Task
    layers: Mapping[str, Any] | None = None
    layer: str = ""


@dataclass(frozen=True)
class Probe:
    """A rounding experiment on the float64 reference (see `parity.perturbation`)."""

    dimensions: dict[str, perturbation.InnerDimensions]
    epsilon: float
    number: int


def torch_dtype(array: np.ndarray) -> torch.dtype:
    """Return the torch dtype of an array."""
    return torch.from_numpy(array[:0].copy()).dtype


def clone(module: nn.Module, dtype: torch.dtype, train: bool) -> nn.Module:
    """Return an independent copy of a module on the CPU, in another dtype and mode."""
    return copy.deepcopy(module).to("cpu", dtype).train(train)


def run_torch(
    module: nn.Module,
    task: Task,
    dtype: torch.dtype,
    probe: Probe | None = None,
    device: str | torch.device = "cpu",
    rounding: Rounding | None = None,
) -> Tensors:
    """Run a copy of a torch module and return its tensors."""
    module = clone(module, dtype, task.train).to(device)
    x = torch.tensor(task.inputs, dtype=dtype, device=device, requires_grad=True)
    parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
    with ExitStack() as stack:
        stack.enter_context(shared_masks.on_torch(module, task.seed))
        if probe is not None:
            arguments = probe.dimensions, probe.epsilon, probe.number
            stack.enter_context(perturbation.perturbed(module, *arguments))
        gradients: list[Tensor | None]
        if rounding is not None:
            stack.enter_context(rounding.watching(module))
        y = module(x)
        if not y.requires_grad:
            raise ParityError(
                f"torch's {type(module).__name__} gives an output without a gradient: parity needs "
                "one that depends on the input and is not detached"
            )
        tensors: Tensors = {("", "output"): _array(y)}
        if task.torch_criterion is None:
            upstream = torch.tensor(task.upstream, dtype=dtype, device=device)
            sources = [x, *parameters.values()]
            gradients = list(torch.autograd.grad(y, sources, upstream, allow_unused=True))
        else:
            loss, dy, *gradients = _loss_gradients(task, y, [x, *parameters.values()], probe)
            tensors["", "loss"] = _array(loss)
            tensors["", "gradient of output"] = _array(dy)
    _require(dict(zip(["its input", *parameters], gradients, strict=True)))
    tensors["", "gradient of input"] = _array(gradients[0])
    for name, gradient in zip(parameters, gradients[1:], strict=True):
        tensors[_place(name, "gradient of ")] = _array(gradient)
    saved = module.state_dict()
    for name, buffer in module.named_buffers():
        if name in saved:
            tensors[_place(name)] = _array(buffer)
    return tensors


def run_numpy(network: Network, task: Task) -> Tensors:
    """Run a NumPy network, as it stands, and return copies of its tensors.

    Where the output's shape is not the upstream gradient's, it alone is returned.

    Raises:
        NumpyError: if the network or its loss raises an exception.
        ParityError: if it returns something that cannot be compared.
    """
    set_mode(network, task.train)
    kind = type(network).__name__
    # Non-finite values are compared, and torch does not warn of them either.
    with shared_masks.on_numpy(network, task.seed), np.errstate(all="ignore"):
        y = _array_from(f"{kind}.forward", network.forward, task.inputs)
        tensors: Tensors = {("", "output"): y.copy()}
        if task.upstream is not None and y.shape != task.upstream.shape:
            return tensors
        if task.numpy_criterion is None:
            assert task.upstream is not None
            dy = task.upstream
        else:
            loss_kind, criterion = type(task.numpy_criterion).__name__, task.numpy_criterion
            loss = _called(f"{loss_kind}.forward", criterion.forward, y, task.targets)
            dy = _array_from(f"{loss_kind}.backward", criterion.backward)
            tensors["", "loss"] = np.asarray(loss, dtype=task.inputs.dtype)
            tensors["", "gradient of output"] = dy.copy()
        dx = _array_from(f"{kind}.backward", network.backward, dy)
    tensors["", "gradient of input"] = dx.copy()
    for name, gradient in network.gradients().items():
        if gradient is None:
            raise ParityError(
                f"{kind}.gradients() has None for {name}, which torch's gradient is to be compared "
                "with: let backward set it"
            )
        tensors[_place(name, "gradient of ")] = np.array(gradient)
    for name, buffer in network.buffers().items():
        tensors[_place(name)] = np.array(buffer)
    return tensors


class References(NamedTuple):
    """What torch computes of one task, and how far NumPy may be off.

    Attributes:
        own: torch's tensors in the task's dtype.
        exact: the float64 reference.
        budgets: the error allowed by `parity.tolerance`.
        watched: the reference, torch's own and the perturbed runs, each with what it decided.
    """

    own: Tensors
    exact: Tensors
    budgets: dict[Place, float]
    watched: list[tuple[Tensors, Rounding]]


def references(module: nn.Module, task: Task, probes: int = 3) -> References:
    """Run torch in the task's dtype, in float64, and in float64 with operands moved."""
    dtype = torch_dtype(task.inputs)
    epsilon = float(np.finfo(task.inputs.dtype).eps)
    with perturbation.observed(observer := clone(module, torch.float64, task.train)) as dimensions:
        run_forward(observer, task, torch.float64)

    def run(dtype: torch.dtype, probe: Probe | None = None) -> tuple[Tensors, Rounding]:
        watch = Rounding(epsilon)
        return run_torch(module, task, dtype, probe, rounding=watch), watch

    exact, decided = run(torch.float64)
    own, own_decided = (exact, decided) if dtype == torch.float64 else run(dtype)
    trials = [run(torch.float64, Probe(dimensions, epsilon, number)) for number in range(probes)]
    comparable = decided.agrees(own_decided, exact)
    trusted = [(trial, decided.agrees(watch, exact)) for trial, watch in trials]
    budgets = {}
    for place, value in exact.items():
        length = _longest_sum(place, dimensions, exact["", "output"])
        error = movement(own[place], value) if place in comparable else 0.0
        moved = [trial[place] for trial, places in trusted if place in places]
        budgets[place] = max(FACTOR * error, floor(value, moved, length, epsilon))
    return References(own, exact, budgets, [(exact, decided), (own, own_decided), *trials])


def run_forward(module: nn.Module, task: Task, dtype: torch.dtype) -> Tensor:
    """Run a torch module of this dtype forward only, on fresh masks, and return its output.

    Raises:
        ParityError: if torch refuses the inputs, or returns anything but a tensor.
    """
    kind = type(module).__name__
    with torch.no_grad(), shared_masks.on_torch(module, task.seed):
        try:
            y = module(torch.tensor(task.inputs, dtype=dtype))
        except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError) as error:
            raise ParityError(
                f"torch's {kind} cannot run on inputs of shape {task.inputs.shape}: "
                f"{_first_line(error)}"
            ) from error
    if not isinstance(y, Tensor):
        raise ParityError(f"torch's {kind} returns {kind_of(y)}: parity needs one tensor")
    return y


def with_upstream(module: nn.Module, task: Task) -> Task:
    """Return the task with a random normal upstream gradient where no loss gives one.

    Raises:
        ParityError: if the module cannot be run.
    """
    dtype = torch_dtype(task.inputs)
    output = run_forward(clone(module, dtype, task.train), task, dtype)
    if task.torch_criterion is not None:
        return task
    return replace(task, upstream=random_upstream(task, tuple(output.shape)))


def random_upstream(task: Task, shape: tuple[int, ...]) -> np.ndarray:
    """Return the gradient of the output that the task's seed gives."""
    generator = np.random.default_rng((task.seed, 1))
    return generator.standard_normal(shape).astype(task.inputs.dtype)


def shuffled(task: Task) -> Task:
    """Return a task of the same shapes on other data, to leave stale state behind on purpose."""
    upstream = None if task.upstream is None else task.upstream[::-1] * task.upstream.dtype.type(2)
    inputs = np.ascontiguousarray(task.inputs[::-1]) * task.inputs.dtype.type(-0.5)
    return replace(task, inputs=inputs, upstream=upstream, seed=task.seed + 1)


def _loss_gradients(
    task: Task, y: Tensor, sources: list[Tensor], probe: Probe | None
) -> tuple[Tensor | None, ...]:
    """Return the loss, and its gradients with respect to y and the sources."""
    assert task.torch_criterion is not None
    criterion = task.torch_criterion
    if isinstance(criterion, nn.Module):
        criterion = copy.deepcopy(criterion).to(y.dtype)
    targets = torch_targets(task.targets, y.dtype).to(y.device)
    logits = (
        y if probe is None else perturbation.nudge_logits(y, targets, probe.epsilon, probe.number)
    )
    try:
        loss = criterion(logits, targets)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ParityError(
            f"torch's loss cannot take outputs of shape {tuple(y.shape)} with targets of shape "
            f"{tuple(targets.shape)} and {targets.dtype}: {_first_line(error)}"
        ) from error
    return loss, *torch.autograd.grad(loss, [y, *sources], allow_unused=True)


def torch_targets(targets: np.ndarray | None, dtype: torch.dtype) -> Tensor:
    """Return targets as a tensor: class indices as they are, numbers in the outputs' dtype."""
    if targets is None:
        raise ParityError("a loss needs targets: pass targets=")
    tensor = torch.tensor(targets)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _longest_sum(
    place: tuple[str, str], dimensions: dict[str, perturbation.InnerDimensions], output: np.ndarray
) -> int:
    """Return the inner dimension behind one tensor, for the same-sign part of the floor."""
    layer, tensor = place
    if tensor == "loss":  # a mean over all elements of the output
        return output.size
    if layer in dimensions and tensor.startswith("gradient of "):
        return dimensions[layer].backward
    if layer in dimensions:
        return dimensions[layer].forward
    if tensor == "output" and dimensions:
        return next((d.forward for d in reversed(dimensions.values()) if d.forward), 0)
    if tensor == "gradient of input" and dimensions:
        return next(iter(dimensions.values())).backward
    return 1


def _called(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call the NumPy side; an exception of its own becomes one sentence."""
    try:
        return function(*arguments)
    except Exception as error:
        *_, (frame, line) = walk_tb(error.__traceback__)
        place = f"{Path(frame.f_code.co_filename).name}:{line}"
        raise NumpyError(
            f"{what} raised {type(error).__name__} at {place}: {_first_line(error)}"
        ) from error


def _array_from(what: str, function: Callable[..., Any], *arguments: Any) -> np.ndarray:
    value = _called(what, function, *arguments)
    if not isinstance(value, np.ndarray):
        raise ParityError(f"{what} must return an array, and returns {kind_of(value)}")
    return value


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]


def _require(gradients: dict[str, Tensor | None]) -> None:
    missing = [name for name, gradient in gradients.items() if gradient is None]
    if missing:
        raise ParityError(
            f"torch gives no gradient for {', '.join(missing)}: the output does not depend on it; "
            "remove it on both sides, or set requires_grad to False and leave it out in NumPy"
        )


def _place(name: str, prefix: str = "") -> tuple[str, str]:
    layer, _, tensor = name.rpartition(".")
    return layer, prefix + tensor


def _array(tensor: Tensor | None) -> np.ndarray:
    assert tensor is not None
    if tensor.dtype == torch.bfloat16:  # unknown to NumPy
        tensor = tensor.float()
    return np.array(tensor.detach().cpu().numpy())
