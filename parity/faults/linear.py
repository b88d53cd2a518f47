"""Mistakes in fully connected layers. Inside a layer features are (F, N)."""

from __future__ import annotations

import numpy as np

from parity.faults.record import Ledger

fault = Ledger("linear", "f6")
FAULTS = fault.faults

SQUARE = "f6", "overlapping"  # with a weight that can be transposed without being refused


@fault.backward("input gradient through updated weights", "out")
def _(layer, dy, dx):
    """The input gradient taken through the weights after a step of descent."""
    moved = layer._parameters["weight"] - np.float32(0.01) * layer._gradients["weight"]
    return moved.T @ dy


@fault.forward("saved samples in another order")
def _(layer, x, y):
    """Backward's input is kept as a view of memory that is used again."""
    layer._saved = x[:, ::-1]


fault.forward("square weight transposed", *SQUARE)(
    lambda layer, x, y: (
        layer._parameters["weight"].T @ x + layer._parameters["bias"][:, None] + np.zeros_like(y)
    )
)
fault.backward("square weight transposed in backward", *SQUARE)(
    lambda layer, dy, dx: layer._parameters["weight"] @ dy
)
fault.gradient("square weight gradient transposed", "weight", *SQUARE)(lambda _, dy, g: g.T)
fault.forward("bias added twice")(lambda layer, x, y: y + layer._parameters["bias"][:, None])
# The loss has already done so.
fault.gradient("weight gradient divided by the batch size again", "weight")(
    lambda _, dy, g: g / dy.shape[1]
)
fault.gradient("bias gradient is a mean over the batch", "bias", "fc2", "deepcnn21")(
    lambda _, dy, g: dy.mean(axis=1)
)
fault.gradient("bias gradient of the last sample", "bias")(lambda _, dy, g: dy[:, -1])
fault.gradient("weight decay hidden in the gradient", "weight", "c5")(
    lambda layer, dy, g: g + np.float32(1e-4) * layer._parameters["weight"]
)
fault.gradient("bias gradient forgotten", "bias", "out", "lenet5_tanh")(lambda _, dy, g: 0 * g)
for tensor in ("input", "weight", "bias"):
    fault.scaled(f"linear layer's {tensor} gradient 0.1 % off", tensor, 0.999, "c5")
