"""Code as people write it: what is right passes, and a mistake is put down to who made it."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import numpy_models
from parity import Recipe, assert_parity, assert_trajectory
from parity.protocol import DisagreementError, ParityError
from parity.sides import Functions

RNG = np.random.default_rng(0)


def culprits(*pair, **options) -> list[str]:
    with pytest.raises(DisagreementError) as caught:
        assert_parity(*pair, **options)
    assert str(caught.value).startswith("culprit: ")
    return caught.value.culprits


class Side:
    """A stack of layers, each with `names` of arrays and their gradients under d + name."""

    names: tuple[str, ...] = ()

    def __init__(self, **layers):
        self.layers = layers

    def forward(self, x):
        for layer in self.layers.values():
            x = layer.forward(x)
        return x

    def backward(self, dy):
        for layer in reversed(self.layers.values()):
            dy = layer.backward(dy)
        return dy

    def _all(self, prefix):
        own = {name: getattr(self, prefix + name) for name in self.names}
        inner = {
            f"{path}.{name}": array
            for path, layer in self.layers.items()
            for name, array in layer._all(prefix).items()
        }
        return own | inner

    def parameters(self):
        return self._all("")

    def gradients(self):
        return self._all("d")

    def buffers(self):
        return {}


class Dense(Side):
    names = ("W", "b")

    def __init__(self, inputs, outputs, factor=1.0):
        super().__init__()
        self.W, self.b, self.factor = np.zeros((inputs, outputs)), np.zeros(outputs), factor

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy):
        self.dW, self.db = self.factor * self.x.T @ dy, dy.sum(0)
        return dy @ self.W.T


class Relu(Side):
    def forward(self, x):
        self.mask = x > 0
        return x * self.mask

    def backward(self, dy):
        return dy * self.mask


class ReluAtZero(Relu):
    def forward(self, x):
        y = super().forward(x)
        self.mask = x >= 0
        return y


class Pool(Side):
    """Channels last, 2 by 2."""

    def forward(self, x):
        n, h, w, c = x.shape
        windows = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4)
        self.windows = windows.reshape(n, h // 2, w // 2, c, 4)
        return self.windows.max(-1)

    def backward(self, dy):
        d = np.zeros_like(self.windows)
        np.put_along_axis(d, self.windows.argmax(-1)[..., None], dy[..., None], -1)
        n, h, w, c = dy.shape
        d = d.reshape(n, h, w, c, 2, 2).transpose(0, 1, 4, 2, 5, 3)
        return d.reshape(n, 2 * h, 2 * w, c)


class Images(Side):
    """Turns channels first into channels last, and flattens them so."""

    def forward(self, x):
        return self.layers["fc"].forward(
            self.layers["pool"].forward(x.transpose(0, 2, 3, 1)).reshape(len(x), -1)
        )

    def backward(self, dy):
        dx = self.layers["fc"].backward(dy).reshape(len(dy), 2, 2, 3)
        return self.layers["pool"].backward(dx).transpose(0, 3, 1, 2)


def perceptron(relu):
    module = nn.Sequential()
    for name, layer in (("fc1", nn.Linear(4, 6)), ("relu", nn.ReLU()), ("fc2", nn.Linear(6, 3))):
        module.add_module(name, layer)
    names = {f"{fc}.weight": (f"{fc}.W", "T") for fc in ("fc1", "fc2")}
    names |= {f"{fc}.bias": f"{fc}.b" for fc in ("fc1", "fc2")}
    network = Side(fc1=Dense(4, 6), relu=relu, fc2=Dense(6, 3))
    return {
        "torch_module": module,
        "numpy_network": network,
        "inputs": RNG.standard_normal((5, 4)),
        "names": names,
    }


def test_a_slope_at_a_zero_that_never_comes_is_found_in_the_layer_alone() -> None:
    assert "relu alone, on equal numbers" in str(assert_parity(**perceptron(Relu())))
    assert culprits(**perceptron(ReluAtZero())) == ["relu"]
    assert_parity(**perceptron(ReluAtZero()), vary=False)


class Loss:
    def __init__(self, shift):
        self.shift = shift

    def forward(self, logits, targets):
        powers = np.exp(logits - self.shift * logits.max(1, keepdims=True))
        self.p, self.targets = powers / powers.sum(1, keepdims=True), targets
        return -np.log(self.p[np.arange(len(targets)), targets]).mean()

    def backward(self):
        return (self.p - np.eye(3)[self.targets]) / len(self.p)


def test_a_softmax_without_its_maximum_overflows_on_large_logits() -> None:
    pair = {**perceptron(Relu()), "targets": RNG.integers(0, 3, 5)}
    pair["torch_criterion"] = nn.CrossEntropyLoss()
    assert_parity(**pair, numpy_criterion=Loss(1))
    assert culprits(**pair, numpy_criterion=Loss(0)) == ["loss"]


class Pictures(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool, self.fc = nn.MaxPool2d(2), nn.Linear(12, 2)

    def forward(self, x):
        return self.fc(self.pool(x).flatten(1))


def channels_last(weight):
    return weight.reshape(2, 3, 2, 2).transpose(2, 3, 1, 0).reshape(12, 2)


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_layers_that_lay_out_their_arrays_otherwise_are_not_accused(factor) -> None:
    """Neither of these two layers is right on torch's arrays, and both are right in the network."""
    network = Images(pool=Pool(), fc=Dense(12, 2, factor))
    names = {"fc.weight": ("fc.W", channels_last), "fc.bias": "fc.b"}
    pair = Pictures(), network, RNG.standard_normal((3, 3, 4, 4))
    if factor == 1:
        assert_parity(*pair, names=names)
        return
    with pytest.raises(DisagreementError, match=r"\Aculprit: fc, the only place that is wrong"):
        assert_parity(*pair, names=names)


class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return torch.tanh(self.a(x)) * self.b(x)


class NumpyGate(Side):
    def __init__(self, factor):
        super().__init__(a=Dense(4, 4), b=Dense(4, 4))
        self.factor = factor

    def forward(self, x):
        self.t, self.y = np.tanh(self.layers["a"].forward(x)), self.layers["b"].forward(x)
        return self.t * self.y

    def backward(self, dy):
        da = dy * self.y * (1 - self.factor * self.t**2)
        return self.layers["a"].backward(da) + self.layers["b"].backward(dy * self.t)


def test_a_block_is_accused_where_all_of_its_layers_are_right() -> None:
    module = nn.Sequential()
    module.add_module("first", Gate())
    module.add_module("second", Gate())
    layers = [f"{gate}.{fc}" for gate in ("first", "second") for fc in "ab"]
    names = {f"{layer}.weight": (f"{layer}.W", "T") for layer in layers}
    names |= {f"{layer}.bias": f"{layer}.b" for layer in layers}
    network = Side(first=NumpyGate(1.0), second=NumpyGate(0.9))
    assert culprits(module, network, RNG.standard_normal((3, 4)), names=names) == ["second"]


def loss_and_gradients(p, x, y):
    """The loss of a linear classifier, as courses write it: nobody asks for the gradient of x."""
    criterion = Loss(1)
    loss = criterion.forward(x @ p["W"] + p["b"], y)
    dy = criterion.backward()
    return loss, {"W": x.T @ dy, "b": dy.sum(0)}


class LossModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x, y):
        return nn.functional.cross_entropy(self.fc(x), y)


def test_a_backward_may_stop_at_the_parameters_where_that_is_said() -> None:
    def backward(p, gradients, dy):
        return None, {name: dy * gradient for name, gradient in gradients.items()}

    side = Functions(loss_and_gradients, backward, {"W": np.zeros((4, 3)), "b": np.zeros(3)})
    pair = LossModule(), side, (RNG.standard_normal((5, 4)), RNG.integers(0, 3, 5))
    names = {"fc.weight": ("W", "T"), "fc.bias": "b"}
    with pytest.raises(DisagreementError, match=r'expect=\{"gradient of input\[0\]": "absent"\}'):
        assert_parity(*pair, names=names)
    verdict = assert_parity(*pair, names=names, expect={"gradient of input[0]": "absent"})
    assert "meant to depart: gradient of input[0] is absent" in str(verdict)
    given = nn.Linear(4, 2), numpy_models.Linear(4, 2), RNG.random((3, 4), np.float32)
    with pytest.raises(ParityError, match="a gradient of input, which is expected to be absent"):
        assert_parity(*given, expect={"gradient of input": "absent"})
    for wrong in ({"fc.weight": "absent"}, {"gradient of input[0]": "biased"}):
        with pytest.raises(ParityError, match="absent is for a gradient of input"):
            assert_parity(*pair, names=names, expect=wrong)


class Adam:
    """Adam as courses write it: a dict of settings and states for each parameter."""

    def __init__(self, network, first=0):
        self.network, self.first = network, first
        self.settings = {
            name: {"m": np.zeros_like(p), "v": np.zeros_like(p), "t": 0}
            for name, p in network.parameters().items()
        }

    def step(self):
        for name, w in self.network.parameters().items():
            c, dw = self.settings[name], self.network.gradients()[name]
            c["t"] += 1
            c["m"] = 0.9 * c["m"] + 0.1 * dw
            c["v"] = 0.999 * c["v"] + 0.001 * dw**2
            t = max(c["t"] - self.first, 1)
            m, v = c["m"] / (1 - 0.9**t), c["v"] / (1 - 0.999**t)
            w -= 0.01 * m / (np.sqrt(v) + 1e-8)

    def state_dict(self):
        return {f"{key}.{n}": x for n, c in self.settings.items() for key, x in c.items()}


def test_an_optimizer_may_count_the_steps_of_each_parameter() -> None:
    recipe = Recipe(
        torch_optimizer=partial(torch.optim.Adam, lr=0.01),
        numpy_optimizer=Adam,
        torch_criterion=nn.CrossEntropyLoss(),
        numpy_criterion=numpy_models.CrossEntropyLoss(),
        states={"exp_avg": "m", "exp_avg_sq": "v", "step": "t", "learning rate": None},
    )
    batches = [(RNG.standard_normal((4, 6)), RNG.integers(0, 3, 4)) for _ in range(3)]
    names = {"weight": ("W", "T"), "bias": "b"}
    assert_trajectory(nn.Linear(6, 3), Dense(6, 3), batches, recipe, names=names)
    late = Recipe(**{**vars(recipe), "numpy_optimizer": partial(Adam, first=1)})
    with pytest.raises(DisagreementError, match=r"\Aculprit: optimizer.* step 2, "):
        assert_trajectory(nn.Linear(6, 3), Dense(6, 3), batches, late, names=names)
