"""Verdicts word by word, on a pair whose every number is known: y = 3·x for one number x.

Each tensor is one product, which every processor rounds alike, and so every budget is the same
everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from parity import DisagreementError, ParityError, assert_parity, compare


def module() -> nn.Linear:
    made = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        made.weight.fill_(3)
    return made


class Scale:
    """y = w·x, with one fault."""

    def __init__(self, fault: str = "", dtype: type = np.float32) -> None:
        self.fault, self.w, self.calls = fault, np.zeros((1, 1), dtype), 0
        self.dw = np.zeros_like(self.w)

    def forward(self, x: np.ndarray) -> Any:
        if self.fault == "raises":
            raise ValueError("out of order")
        self.x = x.copy()
        if self.fault == "changes its input":
            x += 1
        y = x * self.w if self.fault != "changes its input" else self.x * self.w
        if self.fault == "another shape":
            return y[0]
        if self.fault == "NaN":
            return y * np.float32(np.nan)
        if self.fault == "float16":
            return y.astype(np.float16)
        return y.astype(np.float64) if self.fault == "float64" else y

    def backward(self, dy: np.ndarray) -> Any:
        self.calls += 1
        self.dw = dy * self.x
        if self.fault == "doubled":
            self.dw = 2 * self.dw
        if self.fault == "float64":
            self.dw = self.dw.astype(np.float64)
        if self.fault == "changes its weight":
            self.w += 1
        if self.fault == "clipped":
            dy = np.clip(dy, -100, 100)
        if self.fault == "no gradient of the input":
            return None
        dx = dy * self.w
        return dx.astype(np.float64) if self.fault == "float64" else dx

    def parameters(self) -> dict[str, np.ndarray]:
        return {"weight": self.w}

    def gradients(self) -> dict[str, Any]:
        if self.fault == "no gradient of the weight":
            return {}
        if self.fault == "a gradient too many":
            return {"weight": self.dw, "bias": self.dw}
        if self.fault == "a list":
            return {"weight": self.dw.tolist()}
        return {"weight": self.dw}

    def buffers(self) -> dict[str, np.ndarray]:
        return {"count": np.ones(1)} if self.fault == "a buffer too many" else {}


X = np.array([[2.0]], np.float32)
