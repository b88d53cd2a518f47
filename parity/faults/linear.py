"""Mistakes in fully connected layers. Inside a layer features are (F, N)."""

from __future__ import annotations

import numpy as np

from parity.faults.record import Ledger

fault = Ledger("linear", "f6")
FAULTS = fault.faults


@fault.after_forward("square weight transposed", "f6", "overlapping")
def _(layer, x, y):
    """x @ W for x @ Wᵀ, which a square matrix does not refuse."""
    bias = layer._parameters["bias"][:, None]
    return layer._parameters["weight"].T @ x + bias + np.zeros_like(y)


@fault.after_backward("square weight transposed in backward", "f6", "overlapping")
def _(layer, dy, dx):
    return layer._parameters["weight"] @ dy


@fault.after_backward("square weight gradient transposed", "f6", "overlapping")
def _(layer, dy, dx):
    layer._gradients["weight"][...] = layer._gradients["weight"].T.copy()


@fault.after_forward("bias added twice")
def _(layer, x, y):
    return y + layer._parameters["bias"][:, None]


@fault.after_backward("weight gradient divided by the batch size again")
def _(layer, dy, dx):
    """The gradient divided by the batch size although the loss has already done so."""
    layer._gradients["weight"] /= dy.shape[1]


@fault.after_backward("bias gradient is a mean over the batch", "fc2", "deepcnn21")
def _(layer, dy, dx):
    layer._gradients["bias"][...] = dy.mean(axis=1)


@fault.after_backward("bias gradient of the last sample")
def _(layer, dy, dx):
    layer._gradients["bias"][...] = dy[:, -1]


@fault.after_backward("weight decay hidden in the gradient", "c5")
def _(layer, dy, dx):
    layer._gradients["weight"] += np.float32(1e-4) * layer._parameters["weight"]


@fault.after_backward("input gradient through updated weights", "out")
def _(layer, dy, dx):
    """The input gradient taken through the weights after a step of descent."""
    moved = layer._parameters["weight"] - np.float32(0.01) * layer._gradients["weight"]
    return moved.T @ dy


@fault.after_backward("bias gradient forgotten", "out", "lenet5_tanh")
def _(layer, dy, dx):
    layer._gradients["bias"][...] = 0


@fault.after_forward("saved samples in another order")
def _(layer, x, y):
    """Backward's input is kept as a view of memory that is used again."""
    layer._saved = x[:, ::-1]


for tensor in ("input", "weight", "bias"):
    fault.scaled(f"linear layer's {tensor} gradient 0.1 % off", tensor, 0.999, "c5")
