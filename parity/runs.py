"""One forward and backward pass of either side, read out as the same named tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from parity import noise, tape
from parity.protocol import Criterion, Network, ParityError, set_mode
from parity.tolerance import floor

Tensors = dict[tuple[str, str], np.ndarray]
"""(layer, tensor) to value; the layer is empty for what belongs to the whole network."""


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
class Probe:
    """A rounding experiment on the float64 reference (see `parity.noise`)."""

    dimensions: dict[str, noise.InnerDimensions]
    epsilon: float
    number: int


def torch_dtype(array: np.ndarray) -> torch.dtype:
    """Return the torch dtype of an array."""
    return torch.from_numpy(array[:0].copy()).dtype


def clone(module: nn.Module, dtype: torch.dtype, train: bool) -> nn.Module:
    """Return an independent copy of a module in another dtype and mode."""
    return copy.deepcopy(module).to(dtype).train(train)


def run_torch(
    module: nn.Module, task: Task, dtype: torch.dtype, probe: Probe | None = None
) -> Tensors:
    """Run a copy of a torch module and return its tensors."""
    module = clone(module, dtype, task.train)
    x = torch.tensor(task.inputs, dtype=dtype, requires_grad=True)
    parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
    with ExitStack() as stack:
        stack.enter_context(tape.on_torch(module, task.seed))
        if probe is not None:
            arguments = probe.dimensions, probe.epsilon, probe.number
            stack.enter_context(noise.perturbed(module, *arguments))
        gradients: list[Tensor | None]
        y = module(x)
        tensors: Tensors = {("", "output"): _array(y)}
        if task.torch_criterion is None:
            upstream = torch.tensor(task.upstream, dtype=dtype)
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
    """Run a NumPy network, as it stands, and return copies of its tensors."""
    set_mode(network, task.train)
    # Non-finite values are compared, and torch does not warn of them either.
    with tape.on_numpy(network, task.seed), np.errstate(all="ignore"):
        y = network.forward(task.inputs)
        tensors: Tensors = {("", "output"): np.array(y)}
        if task.numpy_criterion is None:
            assert task.upstream is not None
            dy = task.upstream
        else:
            loss = task.numpy_criterion.forward(y, task.targets)
            dy = task.numpy_criterion.backward()
            tensors["", "loss"] = np.asarray(loss, dtype=task.inputs.dtype)
            tensors["", "gradient of output"] = np.array(dy)
        dx = network.backward(dy)
    if dx is None:
        raise ParityError(f"{type(network).__name__}.backward must return the input's gradient")
    tensors["", "gradient of input"] = np.array(dx)
    for name, gradient in network.gradients().items():
        tensors[_place(name, "gradient of ")] = np.array(gradient)
    for name, buffer in network.buffers().items():
        tensors[_place(name)] = np.array(buffer)
    return tensors


def references(module: nn.Module, task: Task, probes: int = 3) -> tuple[Tensors, Tensors, dict]:
    """Return torch's tensors in the task's dtype, the float64 reference, and floors by tensor."""
    dtype = torch_dtype(task.inputs)
    with noise.observed(observer := clone(module, torch.float64, task.train)) as dimensions:
        run_forward(observer, task, torch.float64)
    reference = run_torch(module, task, torch.float64)
    own = reference if dtype == torch.float64 else run_torch(module, task, dtype)
    epsilon = float(np.finfo(task.inputs.dtype).eps)
    trials = [
        run_torch(module, task, torch.float64, Probe(dimensions, epsilon, number))
        for number in range(probes)
    ]
    floors = {}
    for place, value in reference.items():
        length = _longest_sum(place, dimensions, reference["", "output"])
        floors[place] = floor(value, [trial[place] for trial in trials], length, epsilon)
    return own, reference, floors


def run_forward(module: nn.Module, task: Task, dtype: torch.dtype) -> Tensor:
    """Run a torch module of this dtype forward only, on a fresh tape, and return its output."""
    with torch.no_grad(), tape.on_torch(module, task.seed):
        return module(torch.tensor(task.inputs, dtype=dtype))


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
    targets = torch_targets(task.targets, y.dtype)
    logits = y if probe is None else noise.nudge_logits(y, targets, probe.epsilon, probe.number)
    loss = criterion(logits, targets)
    return loss, *torch.autograd.grad(loss, [y, *sources], allow_unused=True)


def torch_targets(targets: np.ndarray | None, dtype: torch.dtype) -> Tensor:
    """Return targets as a tensor: class indices as they are, numbers in the outputs' dtype."""
    if targets is None:
        raise ParityError("a loss needs targets: pass targets=")
    tensor = torch.tensor(targets)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _longest_sum(
    place: tuple[str, str], dimensions: dict[str, noise.InnerDimensions], output: np.ndarray
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
        return list(dimensions.values())[-1].forward
    if tensor == "gradient of input" and dimensions:
        return next(iter(dimensions.values())).backward
    return 1


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
    return np.array(tensor.detach().cpu().numpy())
