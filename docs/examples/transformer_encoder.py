"""torch's transformer encoder against one written by hand in NumPy, in float64.

It takes a batch and, by name, a mask of padded positions. Weights are (in, out) as in textbooks,
and queries, keys and values have a matrix each: the map at the end says so.
"""

import numpy as np
import torch
from torch import nn

from parity import split

WIDTH, HEADS, HIDDEN, DEPTH = 8, 2, 16, 2


class Part:
    """Parameters and their gradients, by name."""

    def __init__(self, **parameters):
        self.p, self.g = parameters, {}

    def parameters(self):
        return self.p

    def gradients(self):
        return self.g

    def buffers(self):
        return {}


class Linear(Part):
    def __init__(self, inputs, outputs):
        super().__init__(W=np.zeros((inputs, outputs)), b=np.zeros(outputs))

    def forward(self, x):
        self.x = x
        return x @ self.p["W"] + self.p["b"]

    def backward(self, dy):
        self.g = {"W": np.einsum("nti,nto->io", self.x, dy), "b": dy.sum((0, 1))}
        return dy @ self.p["W"].T


class LayerNorm(Part):
    def __init__(self, width):
        super().__init__(g=np.zeros(width), b=np.zeros(width))

    def forward(self, x):
        self.scale = 1 / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        self.h = (x - x.mean(-1, keepdims=True)) * self.scale
        return self.h * self.p["g"] + self.p["b"]

    def backward(self, dy):
        self.g = {"g": (dy * self.h).sum((0, 1)), "b": dy.sum((0, 1))}
        dh = dy * self.p["g"]
        centred = dh - dh.mean(-1, keepdims=True)
        return self.scale * (centred - self.h * (dh * self.h).mean(-1, keepdims=True))


class Attention(Part):
    """Multi-head attention; a matrix each for queries, keys, values and what comes out."""

    def __init__(self, width, heads):
        matrices = {f"W{name}": np.zeros((width, width)) for name in "qkvo"}
        super().__init__(**matrices, **{f"b{name}": np.zeros(width) for name in "qkvo"})
        self.heads = heads

    def forward(self, q, k, v, key_padding_mask=None, **_):
        """Return what torch's module does: the result, and None for the weights."""
        self.inputs = {"q": q, "k": k, "v": v}
        projected = {n: x @ self.p[f"W{n}"] + self.p[f"b{n}"] for n, x in self.inputs.items()}
        self.q, self.k, self.v = (self.apart(x) for x in projected.values())
        scores = self.q @ self.k.swapaxes(-1, -2) / np.sqrt(self.q.shape[-1])
        if key_padding_mask is not None:
            hidden = (
                key_padding_mask == -np.inf if key_padding_mask.dtype != bool else key_padding_mask
            )
            scores = np.where(hidden[:, None, None, :], -np.inf, scores)
        powers = np.exp(scores - scores.max(-1, keepdims=True))
        self.weights = powers / powers.sum(-1, keepdims=True)
        self.joined = self.together(self.weights @ self.v)
        return self.joined @ self.p["Wo"] + self.p["bo"], None

    def backward(self, dy):
        """Return the gradients of queries, keys and values."""
        dy = dy[0]
        self.g = {"Wo": np.einsum("nti,nto->io", self.joined, dy), "bo": dy.sum((0, 1))}
        dheads = self.apart(dy @ self.p["Wo"].T)
        dweights = dheads @ self.v.swapaxes(-1, -2)
        dscores = self.weights * (dweights - (dweights * self.weights).sum(-1, keepdims=True))
        dscores = dscores / np.sqrt(self.q.shape[-1])
        inner = {
            "q": self.together(dscores @ self.k),
            "k": self.together(dscores.swapaxes(-1, -2) @ self.q),
            "v": self.together(self.weights.swapaxes(-1, -2) @ dheads),
        }
        for name, d in inner.items():
            self.g[f"W{name}"] = np.einsum("nti,nto->io", self.inputs[name], d)
            self.g[f"b{name}"] = d.sum((0, 1))
        return tuple(d @ self.p[f"W{name}"].T for name, d in inner.items())

    def apart(self, x):  # (N, T, D) to (N, heads, T, D / heads)
        return x.reshape(*x.shape[:2], self.heads, -1).swapaxes(1, 2)

    def together(self, x):
        return x.swapaxes(1, 2).reshape(len(x), x.shape[2], -1)


class Block:
    """Attention, then two linear layers; the norm comes after each sum."""

    def __init__(self):
        self.layers = {
            "self_attn": Attention(WIDTH, HEADS),
            "linear1": Linear(WIDTH, HIDDEN),
            "linear2": Linear(HIDDEN, WIDTH),
            "norm1": LayerNorm(WIDTH),
            "norm2": LayerNorm(WIDTH),
        }

    def forward(self, x, mask):
        part = self.layers
        attended, _ = part["self_attn"].forward(x, x, x, key_padding_mask=mask)
        x = part["norm1"].forward(x + attended)
        self.h = part["linear1"].forward(x)
        return part["norm2"].forward(x + part["linear2"].forward(np.maximum(self.h, 0)))

    def backward(self, dy):
        part = self.layers
        dy = part["norm2"].backward(dy)
        dy = dy + part["linear1"].backward(part["linear2"].backward(dy) * (self.h > 0))
        dy = part["norm1"].backward(dy)
        return dy + sum(part["self_attn"].backward((dy, None)))


class Encoder:
    def __init__(self):
        self.blocks = [Block() for _ in range(DEPTH)]
        self.layers = {
            f"layers.{i}.{name}": layer
            for i, block in enumerate(self.blocks)
            for name, layer in block.layers.items()
        }

    def forward(self, src, src_key_padding_mask):
        for block in self.blocks:
            src = block.forward(src, src_key_padding_mask)
        return src

    def backward(self, dy):
        for block in reversed(self.blocks):
            dy = block.backward(dy)
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


def names():
    """Torch's names, and what this file calls the same."""
    found = {}
    for i in range(DEPTH):
        here = f"layers.{i}"
        attention = f"{here}.self_attn"
        matrices = [(f"{attention}.W{name}", "T") for name in "qkv"]
        found[f"{attention}.in_proj_weight"] = split(*matrices)
        found[f"{attention}.in_proj_bias"] = split(*(f"{attention}.b{name}" for name in "qkv"))
        found[f"{attention}.out_proj.weight"] = (f"{attention}.Wo", "T")
        found[f"{attention}.out_proj.bias"] = f"{attention}.bo"
        for layer in ("linear1", "linear2"):
            found[f"{here}.{layer}.weight"] = (f"{here}.{layer}.W", "T")
            found[f"{here}.{layer}.bias"] = f"{here}.{layer}.b"
        for layer in ("norm1", "norm2"):
            found[f"{here}.{layer}.weight"] = f"{here}.{layer}.g"
            found[f"{here}.{layer}.bias"] = f"{here}.{layer}.b"
    return found


def pair():
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, dropout=0.0, batch_first=True)
    module = nn.TransformerEncoder(block, DEPTH, enable_nested_tensor=False)
    inputs = {
        "src": np.random.default_rng(0).standard_normal((3, 5, WIDTH)),
        "src_key_padding_mask": np.arange(5) >= np.array([[5], [3], [4]]),
    }
    return {
        "torch_module": module,
        "numpy_network": Encoder(),
        "inputs": inputs,
        "names": names(),
    }
