"""Hold a NumPy network against a torch module: outputs, loss, gradients and buffers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor, nn

from parity.protocol import Criterion, Network, NumpyError, ParityError, check_network, kind_of
from parity.runs import Task, clone, references, run_numpy, shuffled, torch_dtype, with_upstream
from parity.tolerance import TensorCheck, fault, judge
from parity.transfer import to_array, to_numpy


@dataclass(frozen=True)
class Comparison:
    """The verdicts on every tensor of one pair.

    Attributes:
        network: the pair's name.
        dtype: "float32" or "float64".
        train: whether it ran in training mode.
        checks: one verdict per tensor, in the order outputs, input gradient, parameters, buffers.
    """

    network: str
    dtype: str
    train: bool
    checks: list[TensorCheck] = field(repr=False)

    @property
    def failures(self) -> list[TensorCheck]:
        """The checks that did not pass."""
        return [check for check in self.checks if not check.passed]

    @property
    def passed(self) -> bool:
        """Whether every tensor is within its budget."""
        return not self.failures

    @property
    def worst(self) -> TensorCheck:
        """The check that uses most of its budget; a failure if there is one."""
        return max(self.checks, key=lambda check: (not check.passed, check.share))

    def __str__(self) -> str:
        mode = "training" if self.train else "evaluation"
        head = f"{self.network} in {self.dtype}, {mode} mode"
        if self.passed:
            return f"{head}: {len(self.checks)} tensors agree, closest call: {self.worst}"
        lines = [f"{head}: {len(self.failures)} of {len(self.checks)} tensors disagree"]
        return "\n".join([*lines, *(f"  {check}" for check in self.failures)])


def compare(
    torch_module: nn.Module,
    numpy_network: Network,
    inputs: np.ndarray | Tensor,
    targets: np.ndarray | Tensor | None = None,
    *,
    torch_criterion: Callable[[Tensor, Tensor], Tensor] | None = None,
    numpy_criterion: Criterion | None = None,
    train: bool = True,
    seed: int = 0,
    name: str | None = None,
) -> Comparison:
    """Run both sides on the same numbers and judge every tensor by `parity.tolerance`'s rule.

    Torch's parameters and buffers are first copied into the NumPy network; the torch module is left
    as it was. Without a loss the upstream gradient is random normal; with one, both losses are
    compared too. The NumPy network runs once on other data beforehand, so that accumulated
    gradients and stale caches show.

    Args:
        torch_module: any module of one input; it may be a single layer.
        numpy_network: any object of `parity.protocol.Network`, with torch's parameter names.
        inputs: (N, …) array or tensor; its dtype, float32 or float64, must be the NumPy
            parameters'. Of a tensor the numbers are taken, wherever it lies.
        targets: class indices (N,) or values, an array or a tensor; needed with a loss.
        torch_criterion: loss on torch's side, mean reduction.
        numpy_criterion: the same loss on NumPy's side.
        train: training or evaluation mode.
        seed: seed of the upstream gradient and of the shared dropout masks.
        name: what messages call the pair; the torch class's name by default.

    Raises:
        ParityError: if there is no sample, or the two do not match in names, shapes or dtypes, or
            cannot be run.
    """
    if not isinstance(torch_module, nn.Module):
        raise ParityError(
            f"torch_module must be a torch.nn.Module, and it is {kind_of(torch_module)}"
        )
    check_network(numpy_network)
    inputs, targets = to_array(inputs), to_array(targets)
    check_inputs(inputs, numpy_network)
    if (torch_criterion is None) != (numpy_criterion is None):
        raise ParityError("a loss is needed on both sides: torch_criterion and numpy_criterion")
    if torch_criterion is not None and targets is None:
        raise ParityError("a loss needs targets: pass targets=")
    name = name or type(torch_module).__name__
    torch_module = clone(torch_module, torch_dtype(inputs), train)
    task = Task(inputs, None, targets, torch_criterion, numpy_criterion, train, seed)
    checks = checks_of(name, torch_module, numpy_network, with_upstream(torch_module, task))
    return Comparison(name, inputs.dtype.name, train, checks)


def checks_of(
    name: str, torch_module: nn.Module, numpy_network: Network, task: Task
) -> list[TensorCheck]:
    """Judge every tensor of a task; the torch module already has the task's dtype and mode."""
    own, reference, floors = references(torch_module, task)
    to_numpy(torch_module, numpy_network)
    try:
        run_numpy(numpy_network, shuffled(task))
        to_numpy(torch_module, numpy_network)
        before = snapshot(numpy_network, task)
        result = run_numpy(numpy_network, task)
    except NumpyError as error:
        return [fault(name, "", "output", str(error))]
    after = snapshot(numpy_network, task)
    if set(result) == {("", "output")}:
        own = {("", "output"): own["", "output"]}
    checks = []
    for place in [*own, *(place for place in result if place not in own)]:
        if place not in result:
            checks.append(fault(name, *place, "only torch has it"))
        elif place not in own:
            checks.append(fault(name, *place, "only NumPy has it"))
        else:
            values = result[place], own[place], reference[place]
            checks.append(judge(name, *place, *values, floors[place]))
    for place, value in before.items():
        if not np.array_equal(value, after[place], equal_nan=True):
            checks.append(fault(name, *place, "changed by NumPy's forward or backward"))
    return checks


def compare_loss(
    torch_criterion: Callable[[Tensor, Tensor], Tensor],
    numpy_criterion: Criterion,
    outputs: np.ndarray | Tensor,
    targets: np.ndarray | Tensor,
    *,
    name: str | None = None,
) -> Comparison:
    """Hold a NumPy loss against a torch loss on given outputs: the loss and its gradient.

    Args:
        torch_criterion: loss on torch's side, mean reduction.
        numpy_criterion: object of `parity.protocol.Criterion`.
        outputs: (N, …) array or tensor, float32 or float64.
        targets: class indices (N,) or values.
        name: what messages call the pair; the torch class's name by default.
    """
    name = name or type(torch_criterion).__name__
    identity = Identity()
    return compare(
        nn.Identity(),
        identity,
        outputs,
        targets,
        torch_criterion=torch_criterion,
        numpy_criterion=numpy_criterion,
        name=name,
    )


class Identity:
    """The network whose outputs are its inputs, to run a loss alone."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return a copy of x."""
        return x.copy()

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Return dy."""
        return dy

    def parameters(self) -> dict[str, np.ndarray]:
        """Return no arrays."""
        return {}

    gradients = buffers = parameters


def snapshot(network: Network, task: Task) -> dict[tuple[str, str], np.ndarray]:
    """Return copies of what forward and backward must leave alone."""
    kept = {("", "inputs"): task.inputs, ("", "targets"): task.targets}
    kept["", "upstream gradient"] = task.upstream
    for name, parameter in network.parameters().items():
        layer, _, tensor = name.rpartition(".")
        kept[layer, tensor] = parameter
    return {place: np.array(value) for place, value in kept.items() if value is not None}


def check_inputs(inputs: np.ndarray, network: Network) -> None:
    """Raise ParityError unless inputs are floats of the network's dtype, of at least one sample."""
    if not isinstance(inputs, np.ndarray) or inputs.dtype not in (np.float32, np.float64):
        kind = inputs.dtype if isinstance(inputs, np.ndarray) else kind_of(inputs)
        raise ParityError(f"inputs must be a float32 or float64 array or tensor, not {kind}")
    if inputs.ndim == 0 or len(inputs) == 0:
        raise ParityError(f"inputs of shape {inputs.shape} hold no sample: give at least one")
    for name, parameter in network.parameters().items():
        if isinstance(parameter, np.ndarray) and parameter.dtype != inputs.dtype:
            raise ParityError(
                f"inputs are {inputs.dtype} but NumPy's {name} is {parameter.dtype}: "
                "give inputs and network one dtype"
            )
