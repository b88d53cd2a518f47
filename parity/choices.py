"""What operations choose: the largest element of a window, the side of a kink."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Decision:
    """The decisions of one operation that rounding takes.

    Attributes:
        operation: what decides: a layer's name, or for example "relu after conv1".
        what: "window" or "element".
        count: how many.
        margin: the largest distance in the reference from what is chosen to what may be.
        granted: the largest distance that rounding may bridge.
        position: number of modules called so far; one more in the loss.
    """

    operation: str
    what: str
    count: int
    margin: float
    granted: float
    position: int

    def __str__(self) -> str:
        return (
            f"{self.count} {self.what}{'s' if self.count > 1 else ''} of {self.operation} (margin "
            f"at most {self.margin:.2g}, granted {self.granted:.2g})"
        )


@dataclass(frozen=True)
class Choice:
    """What one operation chose for every window or element.

    Attributes:
        operation, position: as in `Decision`.
        x: the operand.
        chosen: the largest element's index in the window's plane, or how many kinks lie below x.
        kinks: where the derivative jumps; empty for windows.
        dimensions: number of dimensions of a plane.
    """

    operation: str
    position: int
    x: Tensor
    chosen: Tensor
    kinks: list[Any]
    dimensions: int = 1

    def decision(self, others: Sequence[Choice]) -> Decision | None:
        """Return what other runs choose otherwise, None if nothing."""
        differs, margin, moved = torch.zeros_like(self.chosen), 0.0, 0.0
        for other in others:
            differing = self.chosen != other.chosen
            if differing.any():
                margin = max(margin, float(self._distance(other)[differing].max()))
            moved = max(moved, float((other.x - self.x).abs().nan_to_num(0, 0).max()))
            differs |= differing
        if not differs.any():
            return None
        what, granted = ("element", moved) if self.kinks else ("window", 2 * moved)
        return Decision(self.operation, what, int(differs.sum()), margin, granted, self.position)

    def _distance(self, other: Choice) -> Tensor:
        if self.kinks:
            return torch.stack([(self.x - kink).abs() for kink in self.kinks]).amin(0)
        plane = self.x.flatten(-self.dimensions)
        values = [plane.gather(-1, c.chosen.flatten(-self.dimensions)) for c in (self, other)]
        return (values[0] - values[1]).abs().reshape(self.chosen.shape)


def _limits(*limits: Any) -> list[Any]:
    return [limit for limit in limits if limit is not None]


#: The dimensions of a plane of windows, by operation.
PLANES = {
    "max_pool2d_with_indices": 2,
    "max_pool3d_with_indices": 3,
    "adaptive_max_pool2d": 2,
    "adaptive_max_pool3d": 3,
}
KINKS: dict[str, Callable[..., list[Any]]] = {
    **dict.fromkeys(["relu", "leaky_relu", "_prelu_kernel", "abs", "elu"], lambda *_: [0.0]),
    **dict.fromkeys(["clamp", "clamp_min", "clamp_max", "maximum", "minimum"], _limits),
    "hardtanh": lambda low=-1.0, high=1.0: [low, high],
    "threshold": lambda limit, _: [limit],
    **dict.fromkeys(["hardshrink", "softshrink"], lambda size=0.5: [-size, size]),
    **dict.fromkeys(["hardsigmoid", "hardswish"], lambda: [-3.0, 3.0]),
}
"""Where an operation's derivative jumps, from its operands after the first."""
