"""An LSTM of one fused matrix and one bias, under a map of names: the order of gates is told."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from parity import (
    DisagreementError,
    Recipe,
    assert_parity,
    assert_trajectory,
    follow,
    fused,
    gates,
    summed,
)


class Lstm:
    """An LSTM over (N, T, I), gates in the order i, f, o, g, one matrix [x, h]·W and one bias."""

    def __init__(self, inputs: int, hidden: int) -> None:
        self.W, self.b = np.zeros((inputs + hidden, 4 * hidden)), np.zeros(4 * hidden)

    def forward(self, x):
        n, steps, _ = x.shape
        h = c = np.zeros((n, len(self.b) // 4))
        self.kept, outputs = [], []
        for t in range(steps):
            joined = np.concatenate([x[:, t], h], axis=1)
            i, f, o, g = np.split(joined @ self.W + self.b, 4, axis=1)
            i, f, o, g = *(1 / (1 + np.exp(-a)) for a in (i, f, o)), np.tanh(g)
            before, c = c, f * c + i * g
            h = o * np.tanh(c)
            self.kept.append((joined, i, f, o, g, before, c))
            outputs.append(h)
        return np.stack(outputs, axis=1)

    def backward(self, dy):
        self.dW, self.db = np.zeros_like(self.W), np.zeros_like(self.b)
        hidden = dy.shape[2]
        dx = np.zeros((*dy.shape[:2], len(self.W) - hidden))
        dh = dc = np.zeros((len(dy), hidden))
        for t in reversed(range(dy.shape[1])):
            joined, i, f, o, g, before, c = self.kept[t]
            dh = dh + dy[:, t]
            dc = dc + dh * o * (1 - np.tanh(c) ** 2)
            blocks = [dc * g * i * (1 - i), dc * before * f * (1 - f)]
            blocks += [dh * np.tanh(c) * o * (1 - o), dc * i * (1 - g**2)]
            da = np.concatenate(blocks, axis=1)
            self.dW += joined.T @ da
            self.db += da.sum(0)
            djoined = da @ self.W.T
            dx[:, t], dh, dc = djoined[:, :-hidden], djoined[:, -hidden:], dc * f
        return dx

    def parameters(self):
        return {"W": self.W, "b": self.b}

    def gradients(self):
        return {"W": self.dW, "b": self.db}

    def buffers(self):
        return {}


class Outputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)

    def forward(self, x):
        return self.lstm(x)[0]


class MeanSquares:
    def forward(self, outputs, targets):
        self.gap = outputs - targets
        return (self.gap**2).mean()

    def backward(self):
        return 2 * self.gap / self.gap.size


class Descent:
    lr = 0.1

    def __init__(self, network) -> None:
        self.network = network

    def step(self) -> None:
        for name, parameter in self.network.parameters().items():
            parameter -= self.lr * self.network.gradients()[name]


WEIGHTS, BIASES = (tuple(f"lstm.{k}_{n}h_l0" for n in "ih") for k in ("weight", "bias"))
LSTM = {
    WEIGHTS: fused("W", gates("ifgo->ifog"), "T", axis=1),
    BIASES: summed("b", gates("ifgo->ifog")),
}


def test_an_lstm_of_one_matrix_and_one_bias(rng) -> None:
    inputs = rng.standard_normal((3, 5, 3))
    comparison = assert_parity(Outputs(), Lstm(3, 4), inputs, names=LSTM)
    judged = {check.tensor for check in comparison.checks}
    assert {"gradient of bias_ih_l0", "gradient of bias_hh_l0"} <= judged


@pytest.mark.parametrize("order", ["ifgo->ifgo", "ifgo->figo", "ifgo->iofg"])
def test_another_order_of_gates_is_told(order, rng) -> None:
    wrong = {WEIGHTS: fused("W", gates(order), "T", axis=1), BIASES: summed("b", gates(order))}
    with pytest.raises(DisagreementError):
        assert_parity(Outputs(), Lstm(3, 4), rng.standard_normal((3, 5, 3)), names=wrong)


def test_an_lstm_is_trained_where_torch_trains_one_bias(rng) -> None:
    steps = [(rng.standard_normal((3, 5, 3)), rng.standard_normal((3, 5, 4))) for _ in range(3)]
    how = Recipe(
        torch_optimizer=partial(torch.optim.SGD, lr=0.1),
        numpy_optimizer=Descent,
        torch_criterion=nn.MSELoss(),
        numpy_criterion=MeanSquares(),
    )
    module = Outputs()
    assert not follow(module, Lstm(3, 4), steps, how, names=LSTM).passed
    module.lstm.bias_hh_l0.requires_grad_(False)
    assert_trajectory(module, Lstm(3, 4), steps, how, names=LSTM)
