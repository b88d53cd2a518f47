"""Variations of a pair's inputs, on which it must agree too, because one kind of input hides much.

None leaves the range of the user's own numbers, unless these have both signs and exceed ±1, which
pixels do not: then some are made large. Variations that torch refuses are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from torch import nn
from torch.nn import functional as F

from parity.protocol import ParityError
from parity.runs import with_upstream
from parity.task import Setting, Task
from parity.tolerance import largest


def variations(setting: Setting) -> Iterator[tuple[str, Task, bool]]:
    """Give each variation that torch can be run on: what to call it, the task, and whether NumPy
    may refuse it by an exception.
    """
    for label, vary, refusable in _VARIATIONS:
        task = vary(setting.task)
        if task is None:
            continue
        try:
            task = with_upstream(setting.module, task)
        except ParityError:
            continue
        yield label, task, refusable


def hard(part: Setting) -> Setting | None:
    """Return a layer without parameters on numbers that tie, and cross-entropy on large ones.

    None is returned for any other layer or loss. Where the range allows it, zero is among the
    numbers that tie.
    """
    module, task, what = part.module, part.task, "on equal numbers"
    if part.layer == "loss":
        criterion, what = task.torch_criterion, f"logits + {_LARGE:.0f}"
        if not isinstance(criterion, nn.CrossEntropyLoss) and criterion is not F.cross_entropy:
            return None
        task = task.with_arrays(lambda _, x: x + x.dtype.type(_LARGE))
    elif module.state_dict() or any(module.children()):
        return None
    else:
        task = with_upstream(module, task.with_arrays(_tied))
    return replace(part, name=f"{part.name}, {what}", task=task)


_LARGE = 1000.0  # whose exponential is infinite; the softmax is the same


def _tied(_: str, array: np.ndarray) -> np.ndarray:
    """Round to five numbers between the least and the largest, or to zero."""
    low, high = _range(array)
    if array.dtype.kind != "f" or not low < high or not np.isfinite(array).all():
        return array
    steps = np.linspace(low, high, 5)
    if low < 0 < high:
        steps[np.abs(steps).argmin()] = 0
    nearest = np.rint((array - low) / (high - low) * 4).astype(int)
    return steps.astype(array.dtype)[nearest]


def drawn(task: Task) -> Task:
    """Return the task on uniform random numbers of the inputs' range.

    Where an input is one number throughout, the range is widened to hold 0 and 1.
    """
    rng = np.random.default_rng((task.seed, 4))

    def draw(_: str, array: np.ndarray) -> np.ndarray:
        if array.dtype.kind != "f":
            return array
        low, high = _range(array)
        if low == high:
            low, high = min(low, 0.0), max(high, 1.0)
        u = np.asarray(rng.random(array.shape))
        return np.asarray((1 - u) * low + u * high, array.dtype)

    return task.with_arrays(draw)


def _single(task: Task) -> Task | None:
    """One sample, with exact zeros where zero is in range."""
    return taken(task, np.array([0])).with_arrays(_with_zeros) if samples_of(task) else None


def _many(task: Task) -> Task | None:
    """More samples, with the largest numbers of either sign next to each other."""
    samples = samples_of(task)
    if not samples:
        return None
    return taken(task, np.arange(samples + 3) % samples).with_arrays(_with_extremes)


def _oblong(task: Task) -> Task | None:
    """Images of another width than height."""
    array = task.arrays.get("")
    if array is None or array.ndim != 4 or array.dtype.kind != "f" or array.shape[3] < 2:
        return None
    wide = np.concatenate([array, array[..., -3:]], axis=3)
    return replace(task, inputs=wide)


_VARIATIONS: list[tuple[str, Callable[[Task], Task | None], bool]] = [
    ("one sample with exact zeros", _single, False),
    ("three samples more with large values", _many, True),
    ("images of another width", _oblong, True),
]


def samples_of(task: Task) -> int:
    """Return the batch size, 0 where it cannot be told."""
    arrays = [*task.arrays.values(), *([] if task.targets is None else [task.targets])]
    sizes = {len(array) if array.ndim else 0 for array in arrays}
    return sizes.pop() if len(sizes) == 1 else 0


def taken(task: Task, samples: np.ndarray) -> Task:
    """Return the task on some of its samples."""
    size = samples_of(task)
    targets = None if task.targets is None else task.targets[samples]
    cut = task.with_arrays(
        lambda _, x: x[samples], lambda dy: dy[samples] if dy.shape[:1] == (size,) else dy
    )
    return replace(cut, targets=targets)


def _range(array: np.ndarray) -> tuple[float, float]:
    finite = array[np.isfinite(array)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _with_zeros(_: str, array: np.ndarray) -> np.ndarray:
    low, high = _range(array)
    if array.dtype.kind == "f" and low <= 0 <= high:
        array = array.copy()
        array.reshape(-1)[::3] = 0
    return array


def _with_extremes(_: str, array: np.ndarray) -> np.ndarray:
    """Put the range's ends in every sample, 100 times as far out where nothing bounds it."""
    if array.dtype.kind != "f" or array.ndim < 2:
        return array
    low, high = _range(array)
    if min(-low, high) > 1 and largest(array) < 1e4:  # of both signs, as from a normal distribution
        low, high = 100 * low, 100 * high
    array = array.copy()
    flat = array.reshape(len(array), -1)
    flat[:, 0], flat[:, -1] = low, high
    return array
