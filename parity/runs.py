"""One forward and backward pass of the torch side, read out as named tensors."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from parity import departures, shared_masks
from parity.decisions import Rounding
from parity.perturbation import InnerDimensions, Probe, nudge_logits, observed, perturbed
from parity.protocol import ParityError, first_line, kind_of
from parity.task import Task, place_of
from parity.tolerance import Place, Tensors
from parity.trees import Call, call_of, mapped, named


def clone(module: nn.Module, dtype: torch.dtype, train: bool) -> nn.Module:
    """Return an independent copy of a module on the CPU, in another dtype and mode.

    Compiled submodules are replaced by what they were compiled from.

    Raises:
        ParityError: if the module cannot be copied, or has parameters without a shape.
    """
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if nn.parameter.is_lazy(tensor):
            raise ParityError(
                f"{name} of torch's {type(module).__name__} has no shape yet: run the lazy module "
                "once, or build it with its sizes"
            )
    # Half of the time would go into the empty dicts of each layer's hooks.
    held = (each for layer in module.modules() for each in vars(layer).values())
    made: dict[int, Any] = {id(d): OrderedDict() for d in held if type(d) is OrderedDict and not d}
    try:
        copied = copy.deepcopy(module, made)
    except Exception as error:
        raise ParityError(
            f"torch's {type(module).__name__} cannot be copied, and parity never runs the "
            f"original: copy.deepcopy raises {type(error).__name__}: {first_line(error)}"
        ) from error
    return _eager(copied).to("cpu", dtype).train(train)


def _eager(module: nn.Module) -> nn.Module:
    module = getattr(module, "_orig_mod", module)
    for name, child in module.named_children():
        setattr(module, name, _eager(child))
    return module


@contextmanager
def arithmetic(dtype: torch.dtype) -> Iterator[None]:
    """Give constants that a module makes this dtype; run attention operation by operation."""
    before = torch.get_default_dtype(), torch.backends.mha.get_fastpath_enabled()
    torch.set_default_dtype(dtype)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.set_default_dtype(before[0])
        torch.backends.mha.set_fastpath_enabled(before[1])


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
    parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
    with ExitStack() as stack:
        stack.enter_context(torch.set_grad_enabled(not task.forward_only))
        stack.enter_context(arithmetic(dtype))
        sources, call = _arguments(task, dtype, device)
        stack.enter_context(shared_masks.on_torch(module, task.seed))
        stack.enter_context(departures.applied(module, task.expect))
        if probe is not None:
            stack.enter_context(perturbed(module, probe))
        if rounding is not None:
            stack.enter_context(rounding.watching(module))
        y = _called(module, call, task, dtype)
        leaves = named(y, Tensor).items()
        tensors: Tensors = {("", f"output{name}"): array_of(leaf) for name, leaf in leaves}
        loss = _loss(task, y, probe) if task.torch_criterion is not None else None
        if loss is not None:
            tensors["", "loss"] = array_of(loss)
        if not task.forward_only:
            tensors |= _gradients(task, y, loss, sources, parameters)
    return tensors | saved_buffers(module)


def _gradients(
    task: Task,
    y: Any,
    loss: Tensor | None,
    inputs: dict[str, Tensor],
    parameters: dict[str, nn.Parameter],
) -> Tensors:
    """Return the gradients with respect to outputs (of a loss), inputs and parameters."""
    outputs = {name: leaf for name, leaf in named(y, Tensor).items() if leaf.requires_grad}
    sources: dict[Place, Tensor] = {}
    if loss is None:
        upstream = task.upstream or {}
        outputs = {name: leaf for name, leaf in outputs.items() if name in upstream}
        heads = list(outputs.values())
        arriving = [torch.tensor(upstream[n], device=y.device) for n, y in outputs.items()]
    else:
        heads, arriving = [loss], [torch.ones_like(loss)]
        sources = {("", f"gradient of output{name}"): leaf for name, leaf in outputs.items()}
    sources |= {("", f"gradient of input{name}"): x for name, x in inputs.items()}
    sources |= {place_of(name, "gradient of "): p for name, p in parameters.items()}
    try:
        found = torch.autograd.grad(heads, list(sources.values()), arriving, allow_unused=True)
    except Exception as error:
        raise ParityError(f"torch's side cannot be run backward: {first_line(error)}") from error
    gradients = dict(zip(sources, found, strict=True))
    missing = [name for name in parameters if gradients[place_of(name, "gradient of ")] is None]
    if inputs and all(gradients["", f"gradient of input{name}"] is None for name in inputs):
        missing = ["its input", *missing]
    if missing:
        raise ParityError(
            f"torch gives no gradient for {', '.join(missing)}: the output does not depend on it; "
            "remove it on both sides, or set requires_grad to False and leave it out in NumPy"
        )
    return {place: array_of(value) for place, value in gradients.items() if value is not None}


def run_forward(module: nn.Module, task: Task, dtype: torch.dtype, grad: bool = False) -> Any:
    """Run a torch module of this dtype forward only, on fresh masks, and return its output.

    Raises:
        ParityError: if torch refuses the inputs, or returns no tensor.
    """
    with (
        torch.set_grad_enabled(grad),
        arithmetic(dtype),
        shared_masks.on_torch(module, task.seed),
    ):
        y = _called(module, _arguments(task, dtype, "cpu")[1], task, dtype)
    if not named(y, Tensor):
        raise ParityError(
            f"torch's {type(module).__name__} returns {kind_of(y)}: parity needs a tensor, or a "
            "tuple, list or dict of tensors"
        )
    if any(leaf.is_complex() for leaf in named(y, Tensor).values()):
        raise ParityError(
            f"torch's {type(module).__name__} returns complex numbers: return their real and "
            "imaginary parts (torch.view_as_real)"
        )
    return y


def with_upstream(module: nn.Module, task: Task) -> Task:
    """Return the task with a random normal upstream gradient where no loss gives one.

    Raises:
        ParityError: if the module cannot be run, gives no gradient, or draws random numbers that
            are not shared.
    """
    grad = not task.forward_only
    kind = type(module).__name__
    copies = [clone(module, task.precision, task.train) for _ in range(2)]
    first, again = (named(run_forward(each, task, task.precision, grad), Tensor) for each in copies)
    numbers = [(array_of(leaf), array_of(again[name])) for name, leaf in first.items()]
    if not all(np.array_equal(*pair, equal_nan=True) for pair in numbers):
        raise ParityError(
            f"torch's {kind} gives another output each time it is run on the same inputs, so it "
            "draws random numbers of its own: use dropout layers or torch.nn.functional.dropout, "
            "whose masks are shared, or compare in evaluation mode (train=False)"
        )
    outputs = {name: leaf for name, leaf in first.items() if leaf.requires_grad}
    if grad and not outputs:
        raise ParityError(
            f"torch's {kind} gives an output without a gradient: parity needs one that depends on "
            "the input and is not detached"
        )
    if task.torch_criterion is not None or not grad:
        return task
    generator = np.random.default_rng((task.seed, 1))
    drawn = {name: generator.standard_normal(leaf.shape) for name, leaf in outputs.items()}
    upstream = {name: np.asarray(values, task.dtype) for name, values in drawn.items()}
    return replace(task, upstream=upstream)


def observe(module: nn.Module, task: Task) -> tuple[dict[str, InnerDimensions], Any]:
    """Return the inner dimensions of a module's layers, in calling order, and its output."""
    observer = clone(module, torch.float64, task.train)
    with observed(observer) as dimensions:
        return dimensions, run_forward(observer, task, torch.float64)


def torch_targets(targets: np.ndarray | None, dtype: torch.dtype) -> Tensor:
    """Return targets as a tensor: class indices as they are, numbers in the outputs' dtype."""
    if targets is None:
        raise ParityError("a loss needs targets: pass targets=")
    tensor = torch.tensor(targets)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _arguments(
    task: Task, dtype: torch.dtype, device: str | torch.device
) -> tuple[dict[str, Tensor], Call]:
    """Return the floating-point inputs to take gradients of, by name, and a call on all."""
    leaves: dict[str, Tensor] = {}

    def tensor(name: str, array: np.ndarray) -> Tensor:
        value = torch.tensor(array, device=device)
        if not value.is_floating_point() or name in task.constants:
            return value.to(dtype) if value.is_floating_point() else value
        leaves[name] = value.to(dtype).requires_grad_(not task.forward_only)
        return leaves[name].clone()  # which a layer may change in place

    return leaves, mapped(tensor, call_of(task.inputs), np.ndarray)


def _called(module: nn.Module, call: Call, task: Task, dtype: torch.dtype) -> Any:
    try:
        return module(*call.args, **call.kwargs)
    except ParityError:
        raise
    except Exception as error:
        shapes = ", ".join(str(array.shape) for array in task.arrays.values())
        inside = "" if dtype == task.precision else f" in {str(dtype).removeprefix('torch.')}"
        raise ParityError(
            f"torch's {type(module).__name__} cannot run on inputs of shape {shapes}{inside}: "
            f"{first_line(error)}"
        ) from error


def _loss(task: Task, y: Any, probe: Probe | None) -> Tensor:
    assert task.torch_criterion is not None
    criterion = task.torch_criterion
    first = next(iter(named(y, Tensor).values()))
    if isinstance(criterion, nn.Module):
        criterion = copy.deepcopy(criterion).to(first.dtype)
    targets = torch_targets(task.targets, first.dtype).to(first.device)

    if probe is not None:
        y = mapped(lambda _, leaf: nudge_logits(leaf, targets, probe), y, Tensor)
    try:
        return criterion(y, targets)
    except Exception as error:
        raise ParityError(
            f"torch's loss cannot take outputs of shape {tuple(first.shape)} with targets of shape "
            f"{tuple(targets.shape)} and {targets.dtype}: {first_line(error)}"
        ) from error


def saved_buffers(module: nn.Module) -> Tensors:
    """Return the buffers that a module's state holds."""
    saved = module.state_dict()
    buffers = module.named_buffers()
    return {place_of(name): array_of(buffer) for name, buffer in buffers if name in saved}


def array_of(tensor: Tensor) -> np.ndarray:
    """Return a copy of a tensor's numbers, those of bfloat16 as float32."""
    if tensor.dtype == torch.bfloat16:  # unknown to NumPy
        tensor = tensor.float()
    return np.array(tensor.detach().to_dense().cpu().numpy())
