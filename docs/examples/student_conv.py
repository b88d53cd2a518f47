"""A student's network, written without this project's layers, compared with torch.

The classes below have only what `parity.protocol` requires: forward, backward, parameters,
gradients and buffers. `good` is correct; `subtle` differs by one character in one backward pass.

    python -m parity check student_conv:good
    python -m parity check student_conv:subtle
"""

import numpy as np
import torch
from torch import nn


class Layer:
    """A layer with no parameters."""

    def parameters(self):
        return {}

    def gradients(self):
        return {}

    def buffers(self):
        return {}


class Convolution(Layer):
    """A 3×3 convolution with padding 1, loop by loop."""

    def __init__(self, inputs, outputs):
        self.w = np.zeros((outputs, inputs, 3, 3), np.float32)
        self.b = np.zeros(outputs, np.float32)

    def forward(self, x):
        self.padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        n, _, height, width = x.shape
        y = np.zeros((n, len(self.b), height, width), x.dtype) + self.b[:, None, None]
        for i in range(height):
            for j in range(width):
                window = self.padded[:, :, i : i + 3, j : j + 3]
                y[:, :, i, j] += np.tensordot(window, self.w, axes=([1, 2, 3], [1, 2, 3]))
        return y

    def backward(self, dy):
        self.dw = np.zeros_like(self.w)
        self.db = dy.sum(axis=(0, 2, 3))
        dpadded = np.zeros_like(self.padded)
        for i in range(dy.shape[2]):
            for j in range(dy.shape[3]):
                here = dy[:, :, i, j]
                window = self.padded[:, :, i : i + 3, j : j + 3]
                self.dw += np.tensordot(here, window, axes=(0, 0))
                self.spread(dpadded[:, :, i : i + 3, j : j + 3], np.tensordot(here, self.w, 1))
        return dpadded[:, :, 1:-1, 1:-1]

    def spread(self, part, gradient):
        part += gradient

    def parameters(self):
        return {"weight": self.w, "bias": self.b}

    def gradients(self):
        return {"weight": self.dw, "bias": self.db}


class SubtleConvolution(Convolution):
    """Windows overlap, so that their gradients must be added; here the last one stays."""

    def spread(self, part, gradient):
        part[...] = gradient


class Relu(Layer):
    def forward(self, x):
        self.positive = x > 0
        return x * self.positive

    def backward(self, dy):
        return dy * self.positive


class Features(Layer):
    def forward(self, x):
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, dy):
        return dy.reshape(self.shape)


class Dense(Layer):
    def __init__(self, inputs, outputs):
        self.w = np.zeros((outputs, inputs), np.float32)
        self.b = np.zeros(outputs, np.float32)

    def forward(self, x):
        self.x = x
        return x @ self.w.T + self.b

    def backward(self, dy):
        self.dw, self.db = dy.T @ self.x, dy.sum(axis=0)
        return dy @ self.w

    def parameters(self):
        return {"weight": self.w, "bias": self.b}

    def gradients(self):
        return {"weight": self.dw, "bias": self.db}


class StudentNetwork:
    """Layers under the names that the torch module below gives them."""

    def __init__(self, second=Convolution):
        self.layers = {
            "conv1": Convolution(1, 4),
            "relu1": Relu(),
            "conv2": second(4, 3),
            "relu2": Relu(),
            "flatten": Features(),
            "dense": Dense(3 * 8 * 8, 10),
        }

    def forward(self, x):
        for layer in self.layers.values():
            x = layer.forward(x)
        return x

    def backward(self, dy):
        for layer in reversed(self.layers.values()):
            dy = layer.backward(dy)
        return dy

    def named(self, method):
        return {
            f"{name}.{part}": array
            for name, layer in self.layers.items()
            for part, array in getattr(layer, method)().items()
        }

    def parameters(self):
        return self.named("parameters")

    def gradients(self):
        return self.named("gradients")

    def buffers(self):
        return {}


class TorchNetwork(nn.Module):
    """The same network, in torch."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(4, 3, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.flatten = nn.Flatten()
        self.dense = nn.Linear(3 * 8 * 8, 10)

    def forward(self, x):
        x = self.relu1(self.conv1(x))
        x = self.relu2(self.conv2(x))
        return self.dense(self.flatten(x))


def good():
    """A pair that agrees."""
    torch.manual_seed(0)
    inputs = np.random.default_rng(0).random((4, 1, 8, 8), np.float32)
    return TorchNetwork(), StudentNetwork(), inputs


def subtle():
    """A pair whose second convolution assigns where it must add."""
    module, _, inputs = good()
    return module, StudentNetwork(SubtleConvolution), inputs
