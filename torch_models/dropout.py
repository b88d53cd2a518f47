"""Dropout of the original and the inverted kind, with masks that a caller may supply.

``torch.nn.Dropout`` offers only the inverted kind, and its masks cannot be shared with another
implementation; report R2 uses the original kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

Kind = Literal["original", "inverted"]


class Dropout(nn.Module):
    """Keep an element where its uniform draw u in [0, 1) exceeds p; any shape and dtype.

    ======== ================ ===========
    kind     training         evaluation
    ======== ================ ===========
    original x·[u > p]        x·(1 − p)
    inverted x·[u > p]/(1−p)  x
    ======== ================ ===========

    Args:
        p: probability of dropping an element, 0 <= p <= 1.
        kind: "original" (report R2) or "inverted" (torch's).

    Attributes:
        draw: None to draw with ``torch.rand``, or a function that takes the activation's shape and
            returns float32 uniforms of that shape.

    Raises:
        ValueError: if p or kind is outside the values above, or draw returns a different shape.
    """

    draw: Callable[[tuple[int, ...]], Tensor] | None

    def __init__(self, p: float = 0.5, kind: Kind = "inverted") -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout needs a probability p with 0 <= p <= 1, not {p!r}")
        if kind not in ("original", "inverted"):
            raise ValueError(f'Dropout\'s kind is "original" or "inverted", not {kind!r}')
        self.p = p
        self.kind = kind
        self.draw = None

    def forward(self, x: Tensor) -> Tensor:
        """Return x with elements dropped (training) or scaled by the kind's rule (evaluation)."""
        if not self.training:
            return x * (1 - self.p) if self.kind == "original" else x
        if self.draw is None:
            uniforms = torch.rand(x.shape, device=x.device)
        else:
            uniforms = self.draw(tuple(x.shape)).to(x.device)
            if uniforms.shape != x.shape:
                raise ValueError(
                    f"Dropout.draw returned shape {tuple(uniforms.shape)} for {tuple(x.shape)}"
                )
        kept = x * (uniforms > self.p)
        if self.kind == "original" or self.p == 1:  # p = 1 keeps nothing, so there is no scale
            return kept
        return kept / (1 - self.p)

    def extra_repr(self) -> str:
        """Return the arguments for ``print(module)``."""
        return f"p={self.p}, kind={self.kind!r}"
