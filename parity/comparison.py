"""Compare a NumPy network with a torch module: outputs, loss, gradients and buffers."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from parity.choices import Decision
from parity.numpy_runs import fresh, other, run_numpy, run_numpy_forward, snapshot
from parity.precision import epsilon_of, granted
from parity.protocol import Network, NoBackwardError, NumpyError, ParityError, arrays_of
from parity.references import References, references
from parity.task import Setting, Task
from parity.tolerance import (
    TensorCheck,
    Tensors,
    fault,
    judge,
    largest,
    promoted,
    vacuous,
)
from parity.transfer import assign, comparable, to_numpy, untied

_FEWER = 64.0  # with few bits, not 1024 but 16 units in the last place count for nothing
SCALE = 1024.0  # a power of two, by which gradients are scaled without rounding
_GROSS = 1000.0  # times the budget, and units in the last place of the largest number
_SINGLE = 1024 * float(np.finfo(np.float32).eps)  # more than computing in float32 does to a tensor
DTYPE = "dtype"
CHANGED = "changed by NumPy's forward or backward"


@dataclass(frozen=True)
class Comparison:
    """The verdicts on every tensor of one pair.

    Attributes:
        network: the pair's name.
        dtype: "float32" or "float64".
        train: whether it ran in training mode.
        checks: one verdict per tensor, in the order outputs, input gradient, parameters, buffers.
        decisions: decisions of rounding on which depend tensors that would not agree otherwise.
        undecided: those tensors.
        apart: how these were judged without the decisions, as the end of a sentence.
        alone: the verdicts on each layer alone, where they were needed.
        notes: what the reader must know about how it was judged: a forward pass alone, declared
            departures, variations compared.
        raised: whether NumPy raised an exception instead.
        setting: what was compared, with the NumPy side as it was before; to look for a culprit.
    """

    network: str
    dtype: str
    train: bool
    checks: list[TensorCheck] = field(repr=False)
    decisions: list[Decision] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
    apart: str = " is granted their effect"
    alone: list[LayerProbe] = field(default_factory=list, repr=False)
    notes: list[str] = field(default_factory=list)
    raised: bool = False
    setting: Setting | None = field(default=None, repr=False, compare=False)

    @property
    def failures(self) -> list[TensorCheck]:
        """The checks in which the two sides disagree."""
        return [check for check in self.checks if check.failed]

    @property
    def wrong(self) -> list[TensorCheck]:
        """The failures other than float64 where float32 was expected."""
        return [check for check in self.failures if check.tensor != DTYPE]

    @property
    def unjudged(self) -> list[TensorCheck]:
        """The checks that say nothing, because their budget would let anything pass."""
        return [check for check in self.checks if check.unjudged]

    @property
    def passed(self) -> bool:
        """Whether every tensor is within its budget, and every budget is meaningful."""
        return all(check.passed for check in self.checks)

    @property
    def worst(self) -> TensorCheck:
        """The check that uses most of its budget; a failure if there is one."""
        return max(self.checks, key=lambda check: check.rank)

    @property
    def evidence(self) -> TensorCheck:
        """The first wrong output, after which all may inherit its error, or else the worst."""
        first, failures = self.wrong[0], self.wrong
        output = first.tensor.startswith("output")
        return first if output else max(failures, key=lambda check: check.share)

    def __str__(self) -> str:
        mode = "training" if self.train else "evaluation"
        head = f"{self.network} in {self.dtype}, {mode} mode"
        notes = [*filter(None, [self.remark]), *self.notes]
        if self.passed:
            text = f"{head}: {len(self.checks)} tensors agree, closest call: {self.worst}"
            return "\n  ".join([text, *notes])
        failures = self.failures
        lines = [f"{head}: {len(failures)} of {len(self.checks)} tensors disagree"]
        lines += [f"  {check}" for check in failures]
        lines += [f"  cannot be judged in {self.dtype}: {check}" for check in self.unjudged]
        return "\n  ".join(["\n".join(lines), *self.notes])

    @property
    def remark(self) -> str:
        """What rounding decides, and what was judged without it; empty if nothing."""
        if not self.decisions:
            return ""
        decisions, tensors = ", ".join(map(str, self.decisions)), ", ".join(self.undecided)
        return f"rounding decides {decisions}; what depends on that ({tensors}){self.apart}"


@dataclass(frozen=True)
class LayerProbe:
    """The verdict on one layer, of a class on the torch side, alone on torch's own numbers."""

    layer: str
    kind: str
    comparison: Comparison

    def __str__(self) -> str:
        return f"{self.layer} ({self.kind}), wrong by itself: {self.comparison.evidence}"


def hold(setting: Setting) -> Comparison:
    """Run both sides on the same numbers and judge every tensor."""
    name, module, network, task = setting.name, setting.module, setting.network, setting.task
    given = granted((setting.ask or references)(module, task))
    comparison = Comparison(name, task.dtype.name, task.train, [], notes=_notes(task))
    to_numpy(module, network)
    with suppress(NumpyError):  # it may refuse such weights
        _change_weights(network)
        run_numpy(network, other(task))
    to_numpy(module, network)
    try:
        before, copies = snapshot(network, task), fresh(task)
        result = untied(run_numpy(network, copies), module)
        checks = _judged(setting, result, given)
    except NoBackwardError as error:
        alone = replace(task, upstream=None, forward_only=str(error))
        return hold(replace(setting, task=alone))
    except NumpyError as error:
        return replace(comparison, checks=[fault(name, "", "output", str(error))], raised=True)
    after = snapshot(network, copies)
    checks += [
        fault(name, *place, CHANGED)
        for place, value in before.items()
        if not np.array_equal(value, after[place], equal_nan=True)
    ]
    comparison = judged_again(replace(comparison, checks=checks), given)
    comparison = replace(comparison, checks=_doubted(comparison, setting, given))
    if comparison.passed and not task.forward_only and setting.layer != "loss":
        checks = _once_more(setting, result, comparison)
        comparison = replace(comparison, checks=[*comparison.checks, *checks])
    return comparison


def _notes(task: Task) -> list[str]:
    notes = [f"meant to depart: {name} is {kind}" for name, kind in task.expect.items()]
    notes += [f"granted what computing in {task.format} does"] if task.format else []
    return [f"forward only: {task.forward_only}", *notes] if task.forward_only else notes


def _change_weights(network: Network) -> None:
    """Change a network's weights, so that anything kept from before shows."""
    weights = arrays_of(network, "parameters")
    assign(network, {name: np.flip(value).copy() for name, value in weights.items()})


def _judged(setting: Setting, result: Tensors, given: References) -> list[TensorCheck]:
    """Judge NumPy's tensors one by one, in torch's order."""
    own = comparable(given.own, setting.network)
    outputs = {place for place in own if place[1].startswith("output")}
    if setting.layer and outputs != {p for p in result if p[1].startswith("output")}:
        raise ParityError(f"{setting.name}: NumPy's layer returns other outputs than torch's")
    if any(p in result and result[p].shape != own[p].shape for p in outputs):  # nothing to go back
        own, result = ({p: x for p, x in side.items() if p in outputs} for side in (own, result))
    checks, wide = [], list[str]()
    for place in [*own, *(place for place in result if place not in own)]:
        if place not in result:
            returned = place[1].startswith("gradient of input")
            none = f'NumPy\'s backward returns none (meant? expect={{"{place[1]}": "absent"}})'
            told = none if returned else "only torch has it"
            checks.append(fault(setting.name, *place, told))
        elif place in own:
            values = result[place], own[place], given.exact[place]
            checks.append(judge(setting.name, *place, *values, given.budgets[place]))
            if promoted(*values[:2]):
                wide.append(checks[-1].label)
        elif not place[1].startswith("gradient of input") or result[place].any():
            checks.append(fault(setting.name, *place, "only NumPy has it"))
    if wide:
        told = f"NumPy gives float64 for float32, and is judged by value all the same: {wide[0]}"
        told += f" and {len(wide) - 1} more" if wide[1:] else ""
        checks.append(fault(setting.name, "", DTYPE, told))
    return checks


def _doubted(comparison: Comparison, setting: Setting, given: References) -> list[TensorCheck]:
    """Mark what neither passes nor fails: meaningless budgets, or no float64 reference."""
    module, epsilon, single = setting.module, epsilon_of(setting.task), given.watched[0][1].single
    epsilon /= _FEWER if setting.task.format else 1.0
    hanging = set(comparison.undecided)
    checks = []
    for check in vacuous(comparison.checks, given.exact, epsilon, hanging):
        size = largest(given.exact.get((check.layer, check.tensor), np.zeros(0)))
        if single and check.failed and not check.note and check.error <= _SINGLE * size:
            told = (
                f"off by {check.error:.3g}, and torch's {type(module).__name__} computes in less "
                f"than double precision inside ({single}), so that there is no float64 reference"
            )
            check = replace(check, unjudged=told)
        checks.append(check)
    return checks


def _once_more(setting: Setting, first: Tensors, comparison: Comparison) -> list[TensorCheck]:
    """Return the failures of a run after another forward, with `SCALE` times the upstream gradient.

    The weights change between the two calls of forward. Backward is linear, so gradients grow by
    the same factor, unless something is clipped.
    """
    module, network, task = setting.module, setting.network, setting.task
    budgets = {(check.layer, check.tensor): check.budget for check in comparison.checks}
    scaled = f"upstream gradient × {SCALE:.0f}"
    called = "after two calls of forward, on other weights"

    def failures(name: str, twice: bool, scale: float) -> list[TensorCheck]:
        name = f"{setting.name}, {name}"
        to_numpy(module, network)
        if twice:
            with suppress(NumpyError):
                _change_weights(network)
                run_numpy_forward(network, other(task))
            to_numpy(module, network)
        try:
            result = untied(run_numpy(network, fresh(task), scale), module)
        except NumpyError as error:
            return [fault(name, "", "output", str(error))]
        checks = []
        for place, value in first.items():
            if place not in result:
                checks.append(fault(name, *place, "it was there at first, and is missing now"))
                continue
            now, tensor = result[place], place[1].removeprefix("gradient of ")
            if tensor != place[1] and not tensor.startswith("output"):
                now = np.asarray(now / now.dtype.type(scale))
            if scale > 1 and not np.isfinite(now[np.isfinite(value)]).all():
                continue  # too large for the dtype
            checks.append(judge(name, *place, now, value, value, budgets.get(place, 0.0)))
        return [check for check in checks if not check.passed]

    both = failures(f"{scaled}, {called}", True, SCALE)
    return both and (failures(scaled, False, SCALE) or failures(called, True, 1.0) or both)


def judged_again(comparison: Comparison, given: References) -> Comparison:
    """Grant the tensors that failed what `parity.decisions` finds rounding to do to them."""
    (_, still), *_ = given.watched
    epsilon = epsilon_of(given.task)
    last = max((choice.position for choice in still.choices), default=0)
    deciding = still.hanging(last, given.exact)  # the rest moves by no more than rounding
    # Below this a number may be what cancellation leaves: 1 − tanh² where tanh is all but 1.
    cancelled = _GROSS * epsilon * max(map(largest, given.exact.values()))
    for check in comparison.failures:
        gross = check.share > _GROSS and check.error > cancelled
        if check.note or (gross and (check.layer, check.tensor) not in deciding):
            return comparison
    if comparison.passed:
        return comparison
    found = given.leeway(epsilon)
    checks, undecided = [], list[str]()
    for check in comparison.checks:
        place = check.layer, check.tensor
        wider = check
        if not check.passed and (not given.task.format or place in found.hanging):
            wider = replace(check, budget=check.budget + found.budgets[place])
            if wider.passed and place in found.hanging:
                undecided.append(check.label)
        checks.append(wider if wider.passed else check)
    decisions = found.decisions if undecided else []
    return replace(comparison, checks=checks, decisions=decisions, undecided=undecided)
