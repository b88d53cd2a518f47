"""One forward and backward pass of the torch side, read out as named tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from parity import departures, perturbation, shared_masks
from parity.decisions import Rounding
from parity.protocol import Criterion, ParityError, first_line, kind_of
from parity.tolerance import FACTOR, Place, Tensors, floor, movement
from parity.trees import Call, call_of, mapped, named


@dataclass(frozen=True)
class Task:
    """What both sides compute.

    Attributes:
        inputs: an array, or several in a tuple (by position), a dict (by keyword) or a
            `parity.trees.Call`; floating-point ones are of the dtype compared.
        upstream: gradient given to each output, by the output's name (`parity.trees.named`); None
            when a loss gives it, or with forward_only.
        targets: the loss's targets, None without a loss.
        torch_criterion: the loss on torch's side.
        numpy_criterion: the loss on NumPy's side.
        train: training or evaluation mode.
        seed: seed of the dropout masks.
        expect: departures of the NumPy side that are meant (`parity.departures`).
        forward_only: why there is no backward pass; empty if there is one.
        dtype: the dtype compared; that of the inputs, where one of them is floating-point.
        constants: the floating-point inputs, by name, that nobody takes a gradient of.
        format: in which fewer bits the side under test computes (`parity.precision`); empty where
            it computes in the dtype compared.
    """

    inputs: Any
    upstream: Mapping[str, np.ndarray] | None = None
    targets: np.ndarray | None = None
    torch_criterion: Callable[..., Tensor] | None = None
    numpy_criterion: Criterion | None = None
    train: bool = True
    seed: int = 0
    expect: Mapping[str, str] = field(default_factory=dict)
    forward_only: str = ""
    dtype: Any = np.float32
    constants: frozenset[str] = frozenset()
    format: str = ""

    def __post_init__(self) -> None:
        dtypes = [array.dtype for array in self.arrays.values() if array.dtype.kind == "f"]
        object.__setattr__(self, "dtype", dtypes[0] if dtypes else np.dtype(self.dtype))

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The inputs that are arrays, by name; one alone is named ""."""
        return named(call_of(self.inputs), np.ndarray)

    @property
    def precision(self) -> torch.dtype:
        """The dtype compared, as torch names it."""
        return torch_dtype(np.empty(0, self.dtype))

    def with_arrays(self, change: Callable[[str, np.ndarray], np.ndarray]) -> Task:
        """Return the task with change(name, array) for each array among the inputs."""
        return replace(self, inputs=mapped(change, call_of(self.inputs), np.ndarray))


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
        vary: whether the pair is also held on variations of its inputs (`parity.variation`).
    """

    name: str
    module: nn.Module
    network: Any
    task: Task
    layers: Mapping[str, Any] | None = None
    layer: str = ""
    vary: bool = False


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
    try:
        copied = copy.deepcopy(module)
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
            arguments = probe.dimensions, probe.epsilon, probe.number
            stack.enter_context(perturbation.perturbed(module, *arguments))
        if rounding is not None:
            stack.enter_context(rounding.watching(module))
        y = _called(module, call, task, dtype)
        tensors: Tensors = {("", f"output{n}"): _array(leaf) for n, leaf in _outputs(y).items()}
        loss = _loss(task, y, probe) if task.torch_criterion is not None else None
        if loss is not None:
            tensors["", "loss"] = _array(loss)
        if not task.forward_only:
            tensors |= _gradients(task, y, loss, sources, parameters)
    saved = module.state_dict()
    for name, buffer in module.named_buffers():
        if name in saved:
            tensors[place_of(name)] = _array(buffer)
    return tensors


def _gradients(
    task: Task,
    y: Any,
    loss: Tensor | None,
    inputs: dict[str, Tensor],
    parameters: dict[str, nn.Parameter],
) -> Tensors:
    """Return the gradients with respect to outputs (of a loss), inputs and parameters."""
    outputs = {name: leaf for name, leaf in _outputs(y).items() if leaf.requires_grad}
    sources: dict[Place, Tensor] = {}
    if loss is None:
        upstream = task.upstream or {}
        outputs = {name: leaf for name, leaf in outputs.items() if name in upstream}
        heads, arriving = (
            list(outputs.values()),
            [
                torch.tensor(upstream[name], dtype=leaf.dtype, device=leaf.device)
                for name, leaf in outputs.items()
            ],
        )
    else:
        heads, arriving = [loss], [torch.ones_like(loss)]
        sources = {("", f"gradient of output{name}"): leaf for name, leaf in outputs.items()}
    sources |= {("", f"gradient of input{name}"): x for name, x in inputs.items()}
    sources |= {place_of(name, "gradient of "): p for name, p in parameters.items()}
    with refused("be run backward"):
        found = torch.autograd.grad(heads, list(sources.values()), arriving, allow_unused=True)
    gradients = dict(zip(sources, found, strict=True))
    missing = [name for name in parameters if gradients[place_of(name, "gradient of ")] is None]
    if inputs and all(gradients["", f"gradient of input{name}"] is None for name in inputs):
        missing = ["its input", *missing]
    if missing:
        raise ParityError(
            f"torch gives no gradient for {', '.join(missing)}: the output does not depend on it; "
            "remove it on both sides, or set requires_grad to False and leave it out in NumPy"
        )
    return {place: _array(value) for place, value in gradients.items() if value is not None}


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
    dtype = task.precision
    epsilon = float(np.finfo(task.dtype).eps)
    with perturbation.observed(observer := clone(module, torch.float64, task.train)) as dimensions:
        run_forward(observer, task, torch.float64)

    def run(dtype: torch.dtype, probe: Probe | None = None) -> tuple[Tensors, Rounding]:
        watch = Rounding(epsilon)
        watching = watch if decided.choices else None  # what decides nothing does so in no run
        return run_torch(module, task, dtype, probe, rounding=watching), watch

    decided = Rounding(epsilon)
    exact = run_torch(module, task, torch.float64, rounding=decided)
    own, own_decided = (exact, decided) if dtype == torch.float64 else run(dtype)
    trials = [run(torch.float64, Probe(dimensions, epsilon, number)) for number in range(probes)]
    if any(
        len(watch.choices) != len(decided.choices) for _, watch in [(own, own_decided), *trials]
    ):
        raise ParityError(
            f"torch's {type(module).__name__} performs different operations when its operands move "
            "only by rounding, so it has no reference: compare the parts that do not branch"
        )
    comparable = decided.agrees(own_decided, exact)
    trusted = [(trial, decided.agrees(watch, exact)) for trial, watch in trials]
    budgets = {}
    for place, value in exact.items():
        length = _longest_sum(place, dimensions, exact)
        error = movement(own[place], value) if place in comparable else 0.0
        moved = [trial[place] for trial, places in trusted if place in places]
        exactly = value.dtype.kind != "f"
        budgets[place] = (
            0.0 if exactly else max(FACTOR * error, floor(value, moved, length, epsilon))
        )
    return References(own, exact, budgets, [(exact, decided), (own, own_decided), *trials])


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
        y = _called(module, _arguments(task, dtype, "cpu", grad)[1], task, dtype)
    if not _outputs(y):
        raise ParityError(
            f"torch's {type(module).__name__} returns {kind_of(y)}: parity needs a tensor, or a "
            "tuple, list or dict of tensors"
        )
    if any(leaf.is_complex() for leaf in _outputs(y).values()):
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
    first, again = (
        _outputs(run_forward(clone(module, task.precision, task.train), task, task.precision, grad))
        for _ in range(2)
    )
    if any(not np.array_equal(_array(first[n]), _array(again[n]), equal_nan=True) for n in first):
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
    shapes = {name: tuple(leaf.shape) for name, leaf in outputs.items()}
    return replace(task, upstream=random_upstream(task, shapes))


def random_upstream(task: Task, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Return the gradients of the outputs that the task's seed gives."""
    generator = np.random.default_rng((task.seed, 1))
    drawn = {name: generator.standard_normal(shape) for name, shape in shapes.items()}
    return {name: np.asarray(values, task.dtype) for name, values in drawn.items()}


def torch_targets(targets: np.ndarray | None, dtype: torch.dtype) -> Tensor:
    """Return targets as a tensor: class indices as they are, numbers in the outputs' dtype."""
    if targets is None:
        raise ParityError("a loss needs targets: pass targets=")
    tensor = torch.tensor(targets)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def place_of(name: str, prefix: str = "") -> Place:
    """Return a parameter's or buffer's place by its name."""
    layer, _, tensor = name.rpartition(".")
    return layer, prefix + tensor


def _arguments(
    task: Task, dtype: torch.dtype, device: str | torch.device, grad: bool = True
) -> tuple[dict[str, Tensor], Call]:
    """Return the floating-point inputs to take gradients of, by name, and a call on all."""
    leaves: dict[str, Tensor] = {}

    def tensor(name: str, array: np.ndarray) -> Tensor:
        value = torch.tensor(array, device=device)
        if not value.is_floating_point() or name in task.constants:
            return value.to(dtype) if value.is_floating_point() else value
        leaves[name] = value.to(dtype).requires_grad_(grad and not task.forward_only)
        return leaves[name].clone()  # which a layer may change in place

    return leaves, mapped(tensor, call_of(task.inputs), np.ndarray)


@contextmanager
def refused(what: str) -> Iterator[None]:
    """Make one sentence of an exception of torch's."""
    try:
        yield
    except ParityError:
        raise
    except Exception as error:
        raise ParityError(f"torch's side cannot {what}: {first_line(error)}") from error


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


def _outputs(y: Any) -> dict[str, Tensor]:
    return named(y, Tensor)


def _loss(task: Task, y: Any, probe: Probe | None) -> Tensor:
    assert task.torch_criterion is not None
    criterion = task.torch_criterion
    first = next(iter(_outputs(y).values()))
    if isinstance(criterion, nn.Module):
        criterion = copy.deepcopy(criterion).to(first.dtype)
    targets = torch_targets(task.targets, first.dtype).to(first.device)

    def nudged(_: str, leaf: Tensor) -> Tensor:
        if probe is None:
            return leaf
        return perturbation.nudge_logits(leaf, targets, probe.epsilon, probe.number)

    try:
        return criterion(mapped(nudged, y, Tensor), targets)
    except Exception as error:
        raise ParityError(
            f"torch's loss cannot take outputs of shape {tuple(first.shape)} with targets of shape "
            f"{tuple(targets.shape)} and {targets.dtype}: {first_line(error)}"
        ) from error


def _longest_sum(
    place: Place, dimensions: dict[str, perturbation.InnerDimensions], exact: Tensors
) -> int:
    """Return the inner dimension behind one tensor, for the same-sign part of the floor."""
    layer, tensor = place
    if tensor == "loss":  # a mean over all elements of the output
        return sum(value.size for (_, name), value in exact.items() if name.startswith("output"))
    if layer in dimensions and tensor.startswith("gradient of "):
        return dimensions[layer].backward
    if layer in dimensions:
        return dimensions[layer].forward
    if tensor == "output" and dimensions:
        return next((d.forward for d in reversed(dimensions.values()) if d.forward), 0)
    if tensor == "gradient of input" and dimensions:
        return next(iter(dimensions.values())).backward
    return max((max(each) for each in dimensions.values()), default=1) if layer == "" else 1


def _array(tensor: Tensor) -> np.ndarray:
    if tensor.dtype == torch.bfloat16:  # unknown to NumPy
        tensor = tensor.float()
    return np.array(tensor.detach().to_dense().cpu().numpy())
