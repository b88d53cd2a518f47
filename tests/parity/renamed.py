"""Networks as people write them, under names and in layouts of their own."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


class Dense:
    """y = x·W + b, with W as (in, out), as most textbooks have it."""

    def __init__(self, inputs: int, outputs: int, transposed_gradient: bool = False) -> None:
        self.W, self.b = np.zeros((inputs, outputs)), np.zeros(outputs)
        self.transposed_gradient = transposed_gradient

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy):
        self.dW, self.db = self.x.T @ dy, dy.sum(0)
        if self.transposed_gradient:
            self.dW = self.dW.T.copy()
        return dy @ self.W.T

    def parameters(self):
        return {"W": self.W, "b": self.b}

    def gradients(self):
        return {"W": self.dW, "b": self.db}

    def buffers(self):
        return {}


class Two:
    """Two layers whose parameters are numbered, as in a course's first assignment."""

    def __init__(self, second: type = Dense, **options) -> None:
        self.first, self.second = Dense(4, 4), second(4, 3, **options)
        self.layers = {"fc1": self.first, "fc2": self.second}

    def forward(self, x):
        self.h = self.first.forward(x)
        return self.second.forward(np.tanh(self.h))

    def backward(self, dy):
        return self.first.backward(self.second.backward(dy) * (1 - np.tanh(self.h) ** 2))

    def parameters(self):
        return {"W1": self.first.W, "b1": self.first.b, "W2": self.second.W, "b2": self.second.b}

    def gradients(self):
        return {
            "W1": self.first.dW,
            "b1": self.first.db,
            "W2": self.second.dW,
            "b2": self.second.db,
        }

    def buffers(self):
        return {}


class TorchTwo(nn.Module):
    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 4), nn.Linear(4, outputs)

    def forward(self, x):
        return self.fc2(torch.tanh(self.fc1(x)))


TWO = {
    "fc1.weight": ("W1", "T"),
    "fc1.bias": "b1",
    "fc2.weight": ("W2", "T"),
    "fc2.bias": "b2",
}
