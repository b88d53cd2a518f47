"""Maps of names and layouts: everything named follows them, and a wrong one is refused."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from parity import (
    DisagreementError,
    ParityError,
    Recipe,
    assert_parity,
    assert_trajectory,
    follow,
    fused,
    gates,
    split,
    summed,
    to_numpy,
    to_torch,
)
from parity.names import proposals


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


def test_numbered_and_transposed_parameters(rng) -> None:
    assert_parity(TorchTwo(), Two(), rng.standard_normal((5, 4)), names=TWO)


def test_a_square_matrix_that_is_not_transposed_is_told(rng) -> None:
    wrong = {**TWO, "fc1.weight": "W1"}  # no shape can tell
    with pytest.raises(DisagreementError) as caught:
        assert_parity(TorchTwo(), Two(), rng.standard_normal((5, 4)), names=wrong)
    assert caught.value.culprits == ["fc1"]


def test_the_culprit_has_torchs_name(rng) -> None:
    class Wrong(Dense):
        def backward(self, dy):
            dx = super().backward(dy)
            self.db = self.db * 1.01
            return dx

    with pytest.raises(DisagreementError) as caught:
        assert_parity(TorchTwo(), Two(Wrong), rng.standard_normal((5, 4)), names=TWO)
    assert caught.value.culprits == ["fc2"]
    assert "gradient of bias" in str(caught.value).splitlines()[0]


def test_a_gradient_in_another_layout_than_its_parameter_is_told(rng) -> None:
    module, network = nn.Sequential(nn.Linear(4, 4)), Dense(4, 4, transposed_gradient=True)
    with pytest.raises(DisagreementError, match="gradient of weight"):
        assert_parity(
            module,
            network,
            rng.standard_normal((5, 4)),
            names={"0.weight": ("W", "T"), "0.bias": "b"},
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


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        self.out.weight = self.into.weight

    def forward(self, x):
        return self.out(torch.tanh(self.into(x)))


class OneMatrix(Dense):
    """y = tanh(x·W)·W."""

    def forward(self, x):
        self.x, self.h = x, np.tanh(x @ self.W)
        return self.h @ self.W

    def backward(self, dy):
        da = (dy @ self.W.T) * (1 - self.h**2)
        self.dW = self.x.T @ da + self.h.T @ dy
        return da @ self.W.T

    def parameters(self):
        return {"W": self.W}

    def gradients(self):
        return {"W": self.dW}


@pytest.mark.parametrize("tied", [["into"], ["out"], ["into", "out"]], ids=str)
def test_tied_parameters_may_be_named_once_or_twice(tied, rng) -> None:
    names = {f"{layer}.weight": ("W", "T") for layer in tied}
    assert_parity(Tied(), OneMatrix(4, 4), rng.standard_normal((5, 4)), names=names)


class Bag:
    """Parameters and gradients by name, and nothing that computes."""

    def __init__(self, **shapes) -> None:
        self.held = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}

    def parameters(self):
        return self.held

    gradients = parameters

    def buffers(self):
        return {}


def test_every_layout_goes_there_and_back() -> None:
    module = nn.ModuleDict(
        {
            "attn": nn.MultiheadAttention(6, 2),
            "conv": nn.Conv2d(2, 3, (4, 5)),
            "flipped": nn.Conv2d(2, 3, 4),
            "bn": nn.BatchNorm1d(3),
        }
    )
    bag = Bag(
        Wq=(6, 6),
        Wk=(2, 3, 6),
        Wv=(6, 6),
        bqkv=(18,),
        Wo=(6, 6),
        bo=(6,),
        kernel=(4, 5, 2, 3),
        flipped=(3, 2, 4, 4),
        **{f"{name}.bias": (3,) for name in ("conv", "flipped", "bn")},
        **{f"bn.{name}": (3,) for name in ("weight", "running_mean", "running_var")},
    )
    names = {
        "attn.in_proj_weight": split(("Wq", "T"), ("Wk", lambda w: w.reshape(2, 3, 6)), "Wv"),
        "attn.in_proj_bias": "bqkv",
        "attn.out_proj.weight": ("Wo", "T"),
        "attn.out_proj.bias": "bo",
        "conv.weight": ("kernel", "OIHW->HWIO"),
        "flipped.weight": ("flipped", lambda w: w[:, :, ::-1, ::-1]),
        "bn.num_batches_tracked": None,
    }
    to_numpy(module, bag, names)
    weight = module.get_parameter("attn.in_proj_weight").detach().numpy()
    np.testing.assert_array_equal(bag.held["Wq"], weight[:6].T)
    np.testing.assert_array_equal(bag.held["Wv"], weight[12:])
    kernel = module.get_parameter("conv.weight").detach().numpy()
    np.testing.assert_array_equal(bag.held["kernel"], kernel.transpose(2, 3, 1, 0))
    other = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    to_torch(bag, other, names)
    for name, value in module.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"fc1.wieght": "W1"}, "does not have: did you mean fc1.weight?"),
        ({"fc1.weight": "W9"}, "has fc1.weight as W9, and Two has only W1, b1, W2, b2"),
        ({"fc1.weight": ("W1", "OIHW->HWIO")}, r"of shape \(4, 4\): OIHW->HWIO is for 4 axes"),
        ({"fc1.weight": ("W1", "OI->IX")}, "'OI->IX' is no order"),
        ({"fc1.weight": ("W1", lambda w: w[:2])}, "every element of fc1.weight one place"),
        ({"fc1.weight": ("W1", lambda w: 0 * w)}, "every element of fc1.weight one place"),
        ({("fc1.bias", "fc2.bias"): "b1"}, "must say fused"),
        ({("fc1.bias", "fc2.bias"): summed("b1")}, "every element of fc1.bias and fc2.bias"),
        ({"fc1.bias": "b1", "fc2.bias": "b1"}, "gives b1 to both fc1.bias and fc2.bias"),
        ({"fc1.bias": None}, "only a buffer may have none"),
        ({**TWO, "fc2.weight": "W2"}, r"W2 of shape \(3, 4\), and W2 has shape \(4, 3\)"),
        (None, r'names={"fc1.weight": "W1", "fc1.bias": "b1", "fc2.weight": \("W2", "T"\), "fc2'),
        ({"fc1.weight": ("W1", "T")}, r'order it could be names={"fc1.bias": "b1", "fc2.weight"'),
    ],
)
def test_a_map_that_does_not_fit_is_one_sentence(names, message, rng) -> None:
    with pytest.raises(ParityError, match=message) as caught:
        assert_parity(TorchTwo(), Two(), rng.standard_normal((5, 4)), names=names)
    assert "\n" not in str(caught.value)


def test_what_is_left_over_is_not_overwritten() -> None:
    module, bag = nn.Sequential(nn.Linear(2, 2, bias=False)), Bag(W=(2, 2), **{"0.weight": (2, 2)})
    with pytest.raises(ParityError, match=r"0\.weight is there twice"):
        to_numpy(module, bag, {"0.weight": "W"})


def test_copies_are_told_through_a_map() -> None:
    class Copying(Bag):
        def parameters(self):
            return copy.deepcopy(self.held)

    with pytest.raises(ParityError, match="Copying did not keep what was transferred into W"):
        to_numpy(nn.Linear(2, 2, bias=False), Copying(W=(2, 2)), {"weight": "W"})


@pytest.mark.parametrize(
    ("torch", "other", "expected"),
    [
        (
            {"in.weight": (12, 4), "in.bias": (12,), "out.weight": (4, 4), "out.bias": (4,)},
            {f"{kind}{n}": (4, 4) if kind == "W" else (4,) for kind in "Wb" for n in "qkvo"},
            [
                '"in.weight": split("Wq", "Wk", "Wv")',
                '"in.bias": split("bq", "bk", "bv")',
                '"out.weight": "Wo"',
                '"out.bias": "bo"',
            ],
        ),
        ({"k": (6, 3)}, {"a": (3, 2), "b": (3, 4)}, ['"k": split(("a", "T"), ("b", "T"))']),
        ({"ih": (8, 3), "hh": (8, 2)}, {"W": (5, 8)}, ['("ih", "hh"): fused("W", "T", axis=1)']),
        ({"k": (6, 3)}, {"a": (2, 3), "b": (3, 3)}, []),
    ],
)
def test_what_nothing_fits_alone_is_proposed_in_parts(torch, other, expected) -> None:
    assert list(proposals(torch, other)) == expected
