"""Layers and networks as strangers write them: the documented protocol and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np


class Dense:
    """y = x·Wᵀ + b, under torch's names; gradients are new arrays after each backward.

    Attributes:
        scale: what the gradient of W is multiplied by; 1 is right.
    """

    def __init__(
        self, fan_in: int, fan_out: int, scale: float = 1.0, dtype: type = np.float64
    ) -> None:
        self.w, self.b = np.ones((fan_out, fan_in), dtype), np.zeros(fan_out, dtype)
        self.scale = scale

    def forward(self, x):
        self.x = x
        return x @ self.w.T + self.b

    def backward(self, dy):
        self.dw, self.db = dy.T @ self.x * self.scale, dy.sum(0)
        return dy @ self.w

    def parameters(self):
        return {"weight": self.w, "bias": self.b}

    def gradients(self):
        return {"weight": self.dw, "bias": self.db}

    def buffers(self):
        return {}


class Line(Dense):
    """One whose gradients stay in the arrays that it begins with."""

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__(fan_in, fan_out)
        self.dw, self.db = np.zeros_like(self.w), np.zeros_like(self.b)

    def backward(self, dy):
        kept = self.dw, self.db
        dx = super().backward(dy)
        for array, new in zip(kept, (self.dw, self.db), strict=True):
            array[...] = new
        self.dw, self.db = kept
        return dx


class Chain:
    """Layers one after the other, their arrays under `<layer>.<name>`; they are not shown."""

    def __init__(self, **parts: Any) -> None:
        self.parts = parts

    def forward(self, x):
        for part in self.parts.values():
            x = part.forward(x)
        return x

    def backward(self, dy):
        for part in reversed(self.parts.values()):
            dy = part.backward(dy)
        return dy

    def _named(self, method):
        return {
            f"{name}.{key}": array
            for name, part in self.parts.items()
            for key, array in (getattr(part, method)() or {}).items()
        }

    def parameters(self):
        return self._named("parameters")

    def gradients(self):
        return self._named("gradients")

    def buffers(self):
        return self._named("buffers")
