"""A network of plain functions with a cache, as in a course's assignments, against torch's."""

import numpy as np
import torch
from torch import nn

from parity.sides import Functions


class TorchNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1, self.affine2 = nn.Linear(12, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.affine2(torch.relu(self.affine1(x)))


def affine_forward(x, w, b):
    return x @ w + b, (x, w)


def affine_backward(dout, cache):
    x, w = cache
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)


def forward(p, x):
    """Return the scores, and what backward needs."""
    h, cache1 = affine_forward(x, p["W1"], p["b1"])
    scores, cache2 = affine_forward(np.maximum(h, 0), p["W2"], p["b2"])
    return scores, (cache1, h, cache2)


def backward(p, cache, dscores):
    """Return the input's gradient, and the parameters' by the parameters' names."""
    cache1, h, cache2 = cache
    dh, dw2, db2 = affine_backward(dscores, cache2)
    dx, dw1, db1 = affine_backward(dh * (h > 0), cache1)
    return dx, {"W1": dw1, "b1": db1, "W2": dw2, "b2": db2}


def affine(w, b):
    """Return one layer, so that it can be accused by name."""

    def back(p, cache, dout):
        dx, dw, db = affine_backward(dout, cache)
        return dx, {"w": dw, "b": db}

    return Functions(lambda p, x: affine_forward(x, p["w"], p["b"]), back, {"w": w, "b": b})


NAMES = {
    "affine1.weight": ("W1", "T"),
    "affine1.bias": "b1",
    "affine2.weight": ("W2", "T"),
    "affine2.bias": "b2",
}


def pair():
    torch.manual_seed(0)
    shapes = {"W1": (12, 8), "b1": 8, "W2": (8, 3), "b2": 3}
    parameters = {name: np.zeros(shape) for name, shape in shapes.items()}
    inputs = np.random.default_rng(0).standard_normal((5, 12))
    layers = {f"affine{i}": affine(parameters[f"W{i}"], parameters[f"b{i}"]) for i in (1, 2)}
    side = Functions(forward, backward, parameters, layers=layers)
    return {"torch_module": TorchNetwork(), "numpy_network": side, "inputs": inputs, "names": NAMES}
