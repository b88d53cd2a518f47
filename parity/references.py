"""What torch computes of a task, and the error that its rounding grants the NumPy side."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from parity.decisions import Leeway, Rounding, leeway
from parity.perturbation import InnerDimensions, Probe
from parity.protocol import ParityError
from parity.runs import observe, run_torch
from parity.task import Task
from parity.tolerance import FACTOR, Place, Tensors, floor, movement


@dataclass(frozen=True)
class References:
    """What a torch module computes of one task, and how far NumPy may be off.

    Attributes:
        own: torch's tensors in the task's dtype.
        exact: the float64 reference.
        budgets: the error allowed by `parity.tolerance`.
        watched: the reference, torch's own and the perturbed runs, each with what it decided.
    """

    module: nn.Module
    task: Task
    own: Tensors
    exact: Tensors
    budgets: dict[Place, float]
    watched: list[tuple[Tensors, Rounding]]
    _leeways: dict[float, Leeway] = field(default_factory=dict)

    def leeway(self, epsilon: float) -> Leeway:
        """Return what rounding by an epsilon decides, from experiments made when first asked."""

        def run(rounding: Rounding) -> Tensors:
            return run_torch(self.module, self.task, torch.float64, rounding=rounding)

        if epsilon not in self._leeways:
            self._leeways[epsilon] = leeway(run, self.watched, epsilon)
        return self._leeways[epsilon]


def references(module: nn.Module, task: Task, probes: int = 3) -> References:
    """Run torch in the task's dtype, in float64, and in float64 with operands moved."""
    dtype = task.precision
    epsilon = float(np.finfo(task.dtype).eps)
    dimensions, _ = observe(module, task)

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
    watched = [(exact, decided), (own, own_decided), *trials]
    return References(module, task, own, exact, budgets, watched)


def _longest_sum(place: Place, dimensions: dict[str, InnerDimensions], exact: Tensors) -> int:
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
