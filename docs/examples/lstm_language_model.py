"""A language model of one LSTM layer in torch, and by hand in NumPy, in float64.

Its inputs are token numbers. The NumPy side has one matrix for input and state, its gates in
another order than torch's, and one bias where torch has two: the map at the end says so.
"""

import numpy as np
import torch
from torch import nn

from parity import fused, gates, summed

TOKENS, WIDTH, HIDDEN = 11, 6, 5


class TorchModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(TOKENS, WIDTH)
        self.lstm = nn.LSTM(WIDTH, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, TOKENS)

    def forward(self, tokens):  # (N, T) to (N, TOKENS, T), where cross-entropy wants the classes
        h, _ = self.lstm(self.embed(tokens))
        return self.out(h).transpose(1, 2)


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


class Embedding(Part):
    def __init__(self):
        super().__init__(weight=np.zeros((TOKENS, WIDTH)))

    def forward(self, tokens):
        self.tokens = tokens
        return self.p["weight"][tokens]

    def backward(self, dy):
        self.g = {"weight": np.zeros_like(self.p["weight"])}
        np.add.at(self.g["weight"], self.tokens, dy)  # a token may occur more than once


class Lstm(Part):
    """Gates in the order input, forget, output, candidate; their operand is [x, h]."""

    def __init__(self):
        super().__init__(W=np.zeros((WIDTH + HIDDEN, 4 * HIDDEN)), b=np.zeros(4 * HIDDEN))

    def forward(self, x):
        h = c = np.zeros((len(x), HIDDEN))
        self.steps, outputs = [], []
        for t in range(x.shape[1]):
            joined = np.concatenate([x[:, t], h], axis=1)
            *opened, g = np.split(joined @ self.p["W"] + self.p["b"], 4, axis=1)
            i, f, o = (1 / (1 + np.exp(-a)) for a in opened)
            g, before = np.tanh(g), c
            c = f * before + i * g
            h = o * np.tanh(c)
            self.steps.append((joined, i, f, o, g, before, c))
            outputs.append(h)
        return np.stack(outputs, axis=1), (h[None], c[None])

    def backward(self, dy):
        dy, _ = dy  # nobody uses the last state
        self.g = {name: np.zeros_like(value) for name, value in self.p.items()}
        dx = np.zeros((*dy.shape[:2], WIDTH))
        dh = dc = np.zeros((len(dy), HIDDEN))
        for t in reversed(range(dy.shape[1])):
            joined, i, f, o, g, before, c = self.steps[t]
            dh = dh + dy[:, t]
            dc = dc + dh * o * (1 - np.tanh(c) ** 2)
            blocks = [dc * g * i * (1 - i), dc * before * f * (1 - f)]
            blocks += [dh * np.tanh(c) * o * (1 - o), dc * i * (1 - g**2)]
            da = np.concatenate(blocks, axis=1)
            self.g["W"] += joined.T @ da
            self.g["b"] += da.sum(0)
            djoined = da @ self.p["W"].T
            dx[:, t], dh, dc = djoined[:, :WIDTH], djoined[:, WIDTH:], dc * f
        return dx


class Linear(Part):
    def __init__(self):
        super().__init__(W=np.zeros((HIDDEN, TOKENS)), b=np.zeros(TOKENS))

    def forward(self, x):
        self.x = x
        return x @ self.p["W"] + self.p["b"]

    def backward(self, dy):
        self.g = {"W": np.einsum("nti,nto->io", self.x, dy), "b": dy.sum((0, 1))}
        return dy @ self.p["W"].T


class Model:
    def __init__(self):
        self.layers = {"embed": Embedding(), "lstm": Lstm(), "out": Linear()}

    def forward(self, tokens):
        h, _ = self.layers["lstm"].forward(self.layers["embed"].forward(tokens))
        return self.layers["out"].forward(h).swapaxes(1, 2)

    def backward(self, dy):
        dh = self.layers["out"].backward(dy.swapaxes(1, 2))
        self.layers["embed"].backward(self.layers["lstm"].backward((dh, None)))

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


class CrossEntropy:
    """The mean over samples and positions, of logits (N, TOKENS, T) and token numbers (N, T)."""

    def forward(self, logits, targets):
        shifted = logits - logits.max(1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        self.p, self.targets = np.exp(logs), targets[:, None]
        return -np.take_along_axis(logs, self.targets, 1).mean()

    def backward(self):
        right = np.zeros_like(self.p)
        np.put_along_axis(right, self.targets, 1, 1)
        return (self.p - right) / self.targets.size


NAMES = {
    ("lstm.weight_ih_l0", "lstm.weight_hh_l0"): fused("lstm.W", gates("ifgo->ifog"), "T", axis=1),
    ("lstm.bias_ih_l0", "lstm.bias_hh_l0"): summed("lstm.b", gates("ifgo->ifog")),
    "out.weight": ("out.W", "T"),
    "out.bias": "out.b",
}


def pair():
    torch.manual_seed(0)
    tokens = np.random.default_rng(0).integers(0, TOKENS, (4, 8))
    return {
        "torch_module": TorchModel(),
        "numpy_network": Model(),
        "inputs": tokens[:, :-1],
        "targets": tokens[:, 1:],
        "torch_criterion": nn.CrossEntropyLoss(),
        "numpy_criterion": CrossEntropy(),
        "names": NAMES,
    }
