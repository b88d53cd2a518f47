"""A small convolutional network in torch, and as a JAX function with a pytree of parameters."""

import jax
import numpy as np
import torch
from jax import lax
from torch import nn

from parity.sides import JaxFunction


class TorchNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4 * 4 * 4, 5)

    def forward(self, x):  # (N, 2, 8, 8)
        h = torch.relu(self.norm(self.conv(x)))
        return self.fc(nn.functional.avg_pool2d(h, 2).flatten(1))


def conv(p, x):
    y = lax.conv_general_dilated(
        x, p["kernel"], (1, 1), "SAME", dimension_numbers=("NCHW", "HWIO", "NCHW")
    )
    return y + p["bias"][:, None, None]


def norm(p, state, x, train):
    mean, var = (x.mean((0, 2, 3)), x.var((0, 2, 3))) if train else (state["mean"], state["var"])
    if train:
        n = x.size // x.shape[1]
        seen = {"mean": mean, "var": var * n / (n - 1)}
        state = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, state, seen)
    h = (x - mean[:, None, None]) * lax.rsqrt(var + 1e-5)[:, None, None]
    return h * p["scale"][:, None, None] + p["bias"][:, None, None], state


def fc(p, x):
    return x @ p["kernel"] + p["bias"]


def network(p, state, x, train):
    h, new = norm(p["norm"], state["norm"], conv(p["conv"], x), train)
    h = jax.nn.relu(h)
    n, c, height, width = h.shape
    pooled = h.reshape(n, c, height // 2, 2, width // 2, 2).mean((3, 5))
    return fc(p["fc"], pooled.reshape(n, -1)), {"norm": new}


NAMES = {
    "conv.weight": ("conv.kernel", "OIHW->HWIO"),
    "norm.weight": "norm.scale",
    "norm.running_mean": "norm.mean",
    "norm.running_var": "norm.var",
    "norm.num_batches_tracked": None,
    "fc.weight": ("fc.kernel", "T"),
}


def pair(dtype="float32"):
    torch.manual_seed(0)
    parameters = {
        "conv": {"kernel": np.zeros((3, 3, 2, 4), dtype), "bias": np.zeros(4, dtype)},
        "norm": {"scale": np.zeros(4, dtype), "bias": np.zeros(4, dtype)},
        "fc": {"kernel": np.zeros((64, 5), dtype), "bias": np.zeros(5, dtype)},
    }
    state = {"norm": {"mean": np.zeros(4, dtype), "var": np.ones(4, dtype)}}
    layers = {"conv": conv, "norm": norm, "fc": fc}  # each finds its parameters under its name
    side = JaxFunction(
        jax.jit(network, static_argnames="train"), parameters, buffers=state, layers=layers
    )
    inputs = np.random.default_rng(0).standard_normal((6, 2, 8, 8)).astype(dtype)
    return {"torch_module": TorchNetwork(), "numpy_network": side, "inputs": inputs, "names": NAMES}
