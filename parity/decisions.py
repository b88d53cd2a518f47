"""Decisions that rounding takes: which element of a window is largest, on which side of a kink.

Max pooling, ReLU, |x| and their like are continuous, and their gradients are not: where two
elements of a window tie but for rounding, each side sends the gradient to the one that its own
kernels make the larger, and both are right. Such decisions are found by experiment. The float64
reference runs again with the result of every operation that rounds, going forward and back, moved
by as much as rounding may move it: all upwards, all downwards, in regular patterns and at random. A
decision that then falls otherwise is rounding's.

Which operations round, and by how much, is measured: each is computed in float32 and in float64 on
the same float32 operands, and may be off by 4 times the largest difference, or 4 units in the last
place. The operands are first changed at random by up to 2⁻¹², so that none is exact by luck, as the
mean of equal values may be. Where the two agree to the last bit (a maximum, a rectified zero, a
pixel) the result stays as it is, and what ties there ties exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from parity.choices import KINKS, PLANES, Choice, Decision
from parity.tolerance import FACTOR, Place, Tensors, movement

Signs = Callable[[Tensor], Tensor]
"""For a tensor, the share of the rounding granted by which each element moves, −1 to 1."""

DRAWS = 4
_JITTER = 2.0**-12
_SINGLE = torch.finfo(torch.float32).eps


class Rounding(TorchDispatchMode):
    """Record what a float64 module chooses, and move what rounds.

    Args:
        epsilon: machine epsilon of the tested dtype.
        signs: where to; None to move nothing.

    Attributes:
        choices: of every operation that decides, in calling order.
        called: the module's layers by name, with the number of calls before their first.
        single: the first operation on what the gradient goes back through that gave less than
            double precision, and its layer.
    """

    def __init__(self, epsilon: float, signs: Signs | None = None) -> None:
        super().__init__()
        self.epsilon, self.signs = epsilon, signs
        self.choices: list[Choice] = []
        self.called: dict[str, int] = {}
        self.single = ""
        self._stack: list[tuple[str, bool]] = []
        self._last = "the input"
        self._jitter = torch.Generator().manual_seed(0)

    def agrees(self, other: Rounding, places: Iterable[Place]) -> set[Place]:
        """Return the tensors that do not depend on what the other run chose otherwise."""
        last = max(
            (
                mine.position
                for mine, theirs in zip(self.choices, other.choices, strict=True)
                if not torch.equal(mine.chosen, theirs.chosen)
            ),
            default=0,
        )
        return set(places) - self.hanging(last, places)

    def hanging(self, position: int, places: Iterable[Place]) -> set[Place]:
        """Return the gradients that depend on a decision at a position or before."""

        def reached(place: Place) -> int:
            if place == ("", "gradient of output"):
                return len(self.called)
            return self.called.get(place[0], 0)

        gradients = {place for place in places if place[1].startswith("gradient of ")}
        return {place for place in gradients if reached(place) < position}

    @contextmanager
    def watching(self, module: nn.Module) -> Iterator[None]:
        """Be in force while a module runs, forward and backward."""
        with ExitStack() as stack:
            for name, layer in module.named_modules():
                entry = name, any(layer.children()) or not name
                enter = partial(self._enter, *entry)
                stack.enter_context(layer.register_forward_pre_hook(enter))
                stack.enter_context(layer.register_forward_hook(self._leave))
            stack.enter_context(self)
            yield

    def _enter(self, name: str, composed: bool, *_: Any) -> None:
        self._stack.append((name, composed))
        self.called.setdefault(name, len(self.called))

    def _leave(self, *_: Any) -> None:
        name, composed = self._stack.pop()
        if not composed:
            self._last = name

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        x = args[0] if args else None
        if not isinstance(x, Tensor) or not x.is_floating_point() or func.is_view:
            return func(*args, **kwargs)
        kind = func._schema.name.removeprefix("aten::").removesuffix("_")
        if kind in KINKS and x.requires_grad:
            kinks = KINKS[kind](*args[1:])
            self._note(kind, x.detach().clone(), sum((x > kink).byte() for kink in kinks), kinks)
        changes = self._changes(func, args, kwargs) if self.signs else []
        result = func(*args, **kwargs)
        if self._stack and x.requires_grad and not self.single and _is_single(result):
            self.single = f"{kind.strip('_')} in {self._stack[-1][0] or 'its forward'}"
        if kind in PLANES and x.requires_grad:
            self._note(kind, x.detach(), result[1], [], PLANES[kind])
        for value, change in zip(tree_leaves(result), changes, strict=False):
            if change is not None:
                value.add_(change)
        return result

    def _note(self, kind: str, *choice: Any) -> None:
        name, composed = self._stack[-1] if self._stack else ("the loss", False)
        if composed:
            name = f"{kind.removesuffix('_with_indices')} after {self._last}"
        position = len(self.called) + (not self._stack)
        self.choices.append(Choice(name, position, *choice))

    def _changes(self, func: Any, args: Any, kwargs: Any) -> list[Tensor | None]:
        """Return by how much each result of an operation moves, None for one that is exact."""
        assert self.signs is not None
        leaves, tree = tree_flatten((args, kwargs))
        single = [_single(leaf, self._jitter) for leaf in leaves]
        double = [_double(leaf) for leaf in single]
        calls = [tree_unflatten(operands, tree) for operands in (single, double)]
        low, high = (tree_leaves(func(*a, **k)) for a, k in calls)
        changes: list[Tensor | None] = []
        for rounded, exact in zip(low, high, strict=True):
            change = None
            if isinstance(exact, Tensor) and exact.dtype == torch.float64 and exact.numel():
                error = (rounded.double() - exact).abs().nan_to_num(0, 0)
                unit = _SINGLE * exact.abs().nan_to_num(0, 0).max()
                size = FACTOR * self.epsilon / _SINGLE * torch.maximum(error.max(), unit)
                change = self.signs(exact) * size * (error != 0) if error.any() else None
            changes.append(change)
        return changes


def _single(value: Any, generator: torch.Generator) -> Any:
    if not isinstance(value, Tensor):
        return value
    if value.dtype != torch.float64:
        return value.clone()
    drawn = torch.rand(value.shape, generator=generator, dtype=torch.float32)
    return (value * (1 + _JITTER * drawn)).float()


def _is_single(result: Any) -> bool:
    kinds = torch.float32, torch.float16, torch.bfloat16
    return isinstance(result, Tensor) and result.dtype in kinds


def _double(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.double() if value.dtype == torch.float32 else value.clone()


class Leeway(NamedTuple):
    """The decisions that rounding takes, and the gradients that hang on them.

    The budgets are granted besides those of `parity.tolerance`.
    """

    decisions: list[Decision]
    budgets: dict[Place, float]
    hanging: set[Place]


def leeway(
    run: Callable[[Rounding], Tensors], watched: Sequence[tuple[Tensors, Rounding]], epsilon: float
) -> Leeway:
    """Make the experiments.

    Each operation is moved by all that is granted to it, but a few experiments see only some of the
    ways in which decisions may fall together: what hangs on them is granted 4 times its largest
    movement. So is everything in float64, where torch's own error is not known, and may be the
    larger: a sum of equal values drifts by rounding them all the same way.

    `run` runs the float64 reference. Of the runs made before, the reference is first; the others
    count as experiments. `epsilon` is that of the tested dtype.
    """
    (reference, still), *others = watched
    for signs in experiments():
        rounding = Rounding(epsilon, signs)
        others.append((run(rounding), rounding))
    found = (
        choice.decision(choices)
        for choice, *choices in zip(still.choices, *(r.choices for _, r in others), strict=True)
    )
    decisions = [decision for decision in found if decision]
    last = max((decision.position for decision in decisions), default=0)
    hanging, inexact = still.hanging(last, reference), epsilon <= torch.finfo(torch.float64).eps
    budgets = {
        place: max(movement(other[place], value) for other, _ in others)
        * (FACTOR if inexact or place in hanging else 1)
        for place, value in reference.items()
    }
    return Leeway(decisions, budgets, hanging)


def experiments() -> Iterator[Signs]:
    """Give the ways in which rounding may go."""
    for sign in (1.0, -1.0):
        yield partial(torch.full_like, fill_value=sign)
    for rows, columns in [(1, 1), (1, -1), (-1, 1), (-1, -1)]:
        yield partial(_chequered, rows=rows, columns=columns)
    for seed in range(DRAWS):
        yield partial(_drawn, generator=torch.Generator().manual_seed(seed))


def _chequered(y: Tensor, rows: int, columns: int) -> Tensor:
    """Favour the odd (1) or the even (-1) rows and columns of every plane."""
    if y.ndim < 3:
        return torch.full_like(y, rows)
    down, right = (torch.arange(size, dtype=y.dtype) % 2 * 2 - 1 for size in y.shape[-2:])
    return ((rows * down[:, None] + columns * right) / 2).expand(y.shape)


def _drawn(y: Tensor, generator: torch.Generator) -> Tensor:
    return 2 * torch.rand(y.shape, generator=generator, dtype=y.dtype) - 1
