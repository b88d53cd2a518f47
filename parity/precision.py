"""What a side that computes in fewer bits is granted: TF32, bfloat16, float16 and int8.

Such a side rounds the operands of its products (convolutions, matrix products, attention) and adds
up in more bits. So the float64 reference is run again with just those operands rounded, forward and
backward, and a few times more with each of them moved by half a unit in the last place, up or down.
How far a tensor moves then stands for torch's own error in `parity.tolerance`'s rule; its factor
and its floor stay. In the 16-bit formats and int8 inputs, results, parameters and buffers are kept
in few bits as well, so all that goes in is rounded too, and half a unit in the last place of the
tensor's largest value is added.

Nobody gains from this unasked: it holds for the side under test when the pair says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from parity.perturbation import signs
from parity.protocol import ParityError
from parity.references import References
from parity.runs import clone, run_torch
from parity.task import Task
from parity.tolerance import FACTOR, TF32_ROUNDOFF, Tensors, largest, movement

_PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "addbmm", "mv", "addmv", "dot"}
_PRODUCTS |= {"convolution", "convolution_backward"}
_PROBES = 3


@dataclass(frozen=True)
class Format:
    """A format: how it rounds a float64 tensor, and how far that may move each element.

    `stored` says whether parameters and results are kept in it too, and not operands alone.
    """

    round: Callable[[Tensor], Tensor]
    half_unit: Callable[[Tensor], Tensor]
    stored: bool = True

    @property
    def epsilon(self) -> float:
        """The distance from 1 to the next number."""
        return 2 * float(self.half_unit(torch.ones(1, dtype=torch.float64)))


def round_to_tf32(x: Tensor) -> Tensor:
    """Return x rounded to 11 significant bits, ties to even."""
    mantissa, exponent = torch.frexp(x)
    rounded = torch.ldexp(torch.round(mantissa / TF32_ROUNDOFF) * TF32_ROUNDOFF, exponent)
    return torch.where(torch.isfinite(x), rounded, x)


def _cast(dtype: torch.dtype) -> Format:
    limits = torch.finfo(dtype)
    return Format(
        round=lambda x: x.to(dtype).to(x.dtype),
        half_unit=lambda x: (x.abs() * limits.eps).clamp(min=limits.tiny * limits.eps) / 2,
    )


def _int8_unit(x: Tensor) -> Tensor:
    return x.abs().max() / 127 if x.numel() else x.new_zeros(())


def _round_to_int8(x: Tensor) -> Tensor:
    unit = _int8_unit(x)
    return torch.round(x / unit) * unit if unit > 0 else x


#: By name. int8 stands for a tensor on a grid of 255 values about zero, as torch quantises.
FORMATS = {
    "tf32": Format(round_to_tf32, lambda x: x.abs() * TF32_ROUNDOFF, stored=False),
    "bfloat16": _cast(torch.bfloat16),
    "float16": _cast(torch.float16),
    "int8": Format(_round_to_int8, lambda x: _int8_unit(x).expand(x.shape) / 2),
}


def format_of(name: str) -> Format:
    """Return the format of a name.

    Raises:
        ParityError: if there is none.
    """
    if name not in FORMATS:
        raise ParityError(f"there is no precision {name!r}: give one of {', '.join(FORMATS)}")
    return FORMATS[name]


def epsilon_of(task: Task) -> float:
    """Return the machine epsilon of what the side under test computes in."""
    return format_of(task.format).epsilon if task.format else float(np.finfo(task.dtype).eps)


def granted(given: References) -> References:
    """Return references whose budgets grant what computing in the task's format does."""
    if not given.task.format:
        return given
    kind = format_of(given.task.format)
    runs = rounded_runs(given.module, given.task, kind)
    budgets = {}
    for place, value in given.exact.items():
        moved = FACTOR * max(movement(run[place], value) for run in runs)
        if kind.stored:
            moved += float(kind.half_unit(torch.tensor(largest(value), dtype=torch.float64)))
        budgets[place] = max(given.budgets[place], moved)
    return replace(given, budgets=budgets)


def rounded_runs(module: nn.Module, task: Task, kind: Format) -> list[Tensors]:
    """Return the float64 reference with operands rounded to a format, and with them moved."""

    def moved(probe: int) -> Callable[[Tensor], Tensor]:
        def move(x: Tensor) -> Tensor:
            moved = torch.from_numpy(signs(x, probe)).to(x.dtype) * kind.half_unit(x)
            return x + moved.nan_to_num(0.0, 0.0, 0.0)

        return move

    runs = []
    for change in (kind.round, *map(moved, range(_PROBES))):
        changed = clone(module, torch.float64, task.train)
        if kind.stored:
            with torch.no_grad():
                for tensor in filter(Tensor.is_floating_point, changed.state_dict().values()):
                    tensor.copy_(change(tensor))
        with _ChangedOperands(change):
            kept = _stored(task, change) if kind.stored else task
            runs.append(run_torch(changed, kept, torch.float64))
    return runs


def _stored(task: Task, change: Callable[[Tensor], Tensor]) -> Task:
    """Return the task with what goes in and what arrives from behind kept in the format."""

    def changed(array: np.ndarray) -> np.ndarray:
        floating = array.dtype.kind == "f"
        return change(torch.tensor(array, dtype=torch.float64)).numpy() if floating else array

    return task.with_arrays(lambda _, array: changed(array), changed)


class _ChangedOperands(TorchDispatchMode):
    """Change the operands of every product, in the backward pass too; what they add to stays."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._change = change

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kind = func._schema.name.removeprefix("aten::")
        if kind in _PRODUCTS or kind.startswith("_scaled_dot_product"):
            args = tree_map(self._changed, args)
        return func(*args, **(kwargs or {}))

    def _changed(self, value: Any) -> Any:
        floating = isinstance(value, Tensor) and value.dtype == torch.float64 and value.ndim > 1
        return self._change(value) if floating else value
