"""Hold a NumPy network against a torch module: outputs, loss, gradients and buffers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import nn

from parity.decisions import Decision, Rounding, leeway
from parity.protocol import Network, NumpyError
from parity.runs import References, Setting, Task, references, run_numpy, run_torch, shuffled
from parity.tolerance import TensorCheck, Tensors, fault, judge
from parity.transfer import to_numpy


@dataclass(frozen=True)
class Comparison:
    """The verdicts on every tensor of one pair.

    Attributes:
        network: the pair's name.
        dtype: "float32" or "float64".
        train: whether it ran in training mode.
        checks: one verdict per tensor, in the order outputs, input gradient, parameters, buffers.
        decisions: what rounding decides and a tensor hangs on that would not agree otherwise.
        undecided: those tensors.
        apart: how what hangs on the decisions was judged without them, the end of a sentence.
        alone: the verdicts on each layer alone, where they were needed.
    """

    network: str
    dtype: str
    train: bool
    checks: list[TensorCheck] = field(repr=False)
    decisions: list[Decision] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
    apart: str = " is granted their effect"
    alone: list[LayerProbe] = field(default_factory=list, repr=False)

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
            text = f"{head}: {len(self.checks)} tensors agree, closest call: {self.worst}"
            return "\n  ".join([text, *filter(None, [self.remark])])
        lines = [f"{head}: {len(self.failures)} of {len(self.checks)} tensors disagree"]
        return "\n".join([*lines, *(f"  {check}" for check in self.failures)])

    @property
    def remark(self) -> str:
        """Where rounding decides, and what was judged without it; empty if it does nowhere."""
        if not self.decisions:
            return ""
        decisions, tensors = ", ".join(map(str, self.decisions)), ", ".join(self.undecided)
        return f"rounding decides {decisions}; what hangs on that ({tensors}){self.apart}"


@dataclass(frozen=True)
class LayerProbe:
    """One layer run alone on torch's own input and upstream gradient.

    Attributes:
        layer: the layer's name.
        kind: its class on the torch side.
        comparison: the verdict on this layer alone.
    """

    layer: str
    kind: str
    comparison: Comparison


def hold(setting: Setting) -> Comparison:
    """Run both sides on the same numbers and judge every tensor."""
    name, torch_module, numpy_network = setting.name, setting.module, setting.network
    task = setting.task
    given = references(torch_module, task)
    own = dict(given.own)
    comparison = Comparison(name, task.inputs.dtype.name, task.train, [])
    to_numpy(torch_module, numpy_network)
    try:
        run_numpy(numpy_network, shuffled(task))
        to_numpy(torch_module, numpy_network)
        before = snapshot(numpy_network, task)
        result = run_numpy(numpy_network, task)
    except NumpyError as error:
        return replace(comparison, checks=[fault(name, "", "output", str(error))])
    after = snapshot(numpy_network, task)
    for name in getattr(numpy_network, "absent", ()):
        layer, _, tensor = name.rpartition(".")
        own.pop((layer, tensor), None)
    if set(result) == {("", "output")}:
        own = {("", "output"): own["", "output"]}
    checks = []
    for place in [*own, *(place for place in result if place not in own)]:
        if place not in result:
            checks.append(fault(name, *place, "only torch has it"))
        elif place not in own:
            checks.append(fault(name, *place, "only NumPy has it"))
        else:
            values = result[place], own[place], given.exact[place]
            checks.append(judge(name, *place, *values, given.budgets[place]))
    for place, value in before.items():
        if not np.array_equal(value, after[place], equal_nan=True):
            checks.append(fault(name, *place, "changed by NumPy's forward or backward"))
    comparison = replace(comparison, checks=checks)
    return judged_again(comparison, torch_module, task, given)


def judged_again(
    comparison: Comparison, torch_module: nn.Module, task: Task, given: References
) -> Comparison:
    """Grant the tensors that failed what `parity.decisions` finds rounding to do to them.

    Args:
        comparison: the verdict so far.
        torch_module: the torch side, in the task's mode.
        task: what was computed.
        given: torch's runs of it.
    """
    if comparison.passed or any(check.note for check in comparison.failures):
        return comparison

    def run(rounding: Rounding) -> Tensors:
        return run_torch(torch_module, task, torch.float64, rounding=rounding)

    found = leeway(run, given.watched, float(np.finfo(task.inputs.dtype).eps))
    checks, undecided = [], list[str]()
    for check in comparison.checks:
        place = check.layer, check.tensor
        granted = check
        if not check.passed:
            granted = replace(check, budget=check.budget + found.budget(place))
            if granted.passed and place in found.hanging:
                undecided.append(" of ".join(filter(None, reversed(place))))
        checks.append(granted if granted.passed else check)
    decisions = found.decisions if undecided else []
    return replace(comparison, checks=checks, decisions=decisions, undecided=undecided)


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
