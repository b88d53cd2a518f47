"""Every ready side agrees where it should, and its planted mistake has the layer's name."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import torch_models
from parity import DisagreementError, assert_parity
from parity.sides import Functions, JaxFunction, TorchModule

INPUTS = np.random.default_rng(1).standard_normal((6, 5))
NAMES = {
    "fc1.weight": ("fc1.W", "T"),
    "fc1.bias": "fc1.b",
    "fc2.weight": ("fc2.W", "T"),
    "fc2.bias": "fc2.b",
}


class TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.fc2(torch.tanh(self.fc1(x)))


# Plain functions, as a course's assignment has them.


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dy, cache):
    x, w, _ = cache
    return dy @ w.T, x.T @ dy, dy.sum(0)


def affine_backward_halved(dy, cache):
    dx, dw, db = affine_backward(dy, cache)
    return dx, dw / 2, db


def layer(backward=affine_backward):
    def back(_, cache, dy):
        dx, dw, db = backward(dy, cache)
        return dx, {"W": dw, "b": db}

    return lambda p, x: affine_forward(x, p["W"], p["b"]), back


def of_functions(second=affine_backward, forward_only=False, dtype=np.float64):
    parameters = {
        "fc1": {"W": np.zeros((5, 5), dtype), "b": np.zeros(5, dtype)},
        "fc2": {"W": np.zeros((5, 3), dtype), "b": np.zeros(3, dtype)},
    }

    def forward(p, x):
        y, cache1 = affine_forward(x, p["fc1"]["W"], p["fc1"]["b"])
        h = np.tanh(y)
        z, cache2 = affine_forward(h, p["fc2"]["W"], p["fc2"]["b"])
        return z, (cache1, h, cache2)

    def backward(_, cache, dy):
        cache1, h, cache2 = cache
        dh, dw2, db2 = second(dy, cache2)
        dx, dw1, db1 = affine_backward(dh * (1 - h**2), cache1)
        return dx, {"fc1": {"W": dw1, "b": db1}, "fc2": {"W": dw2, "b": db2}}

    layers = {"fc1": layer(), "fc2": (*layer(second), "fc2")}
    return Functions(forward, None if forward_only else backward, parameters, layers=layers)


def test_plain_functions() -> None:
    assert_parity(TwoLayers(), of_functions(), INPUTS, names=NAMES)


def test_a_wrong_function_has_its_layers_name() -> None:
    with pytest.raises(DisagreementError) as caught:
        assert_parity(TwoLayers(), of_functions(affine_backward_halved), INPUTS, names=NAMES)
    assert caught.value.culprits == ["fc2"]


def test_functions_are_told_the_mode_and_keep_buffers() -> None:
    buffers = {"mean": np.zeros(5), "var": np.ones(5)}

    def forward(p, x, train):
        mean, var = (x.mean(0), x.var(0)) if train else (buffers["mean"], buffers["var"])
        if train:
            buffers["mean"] += 0.1 * (mean - buffers["mean"])
            buffers["var"] += 0.1 * (var * len(x) / (len(x) - 1) - buffers["var"])
        h = (x - mean) / np.sqrt(var + 1e-5)
        return h * p["w"] + p["b"], (h, var, train)

    def backward(p, cache, dy):
        h, var, train = cache
        gradients = {"w": (dy * h).sum(0), "b": dy.sum(0)}
        dh = dy * p["w"]
        if train:
            dh = dh - dh.mean(0) - h * (dh * h).mean(0)
        return dh / np.sqrt(var + 1e-5), gradients

    parameters = {"w": np.ones(5), "b": np.zeros(5)}
    names = {
        "weight": "w",
        "bias": "b",
        "running_mean": "mean",
        "running_var": "var",
        "num_batches_tracked": None,
    }
    for train in (True, False):
        side = Functions(forward, backward, parameters, buffers=buffers)
        comparison = assert_parity(nn.BatchNorm1d(5), side, INPUTS, names=names, train=train)
        judged = {check.tensor for check in comparison.checks}
        assert {"running_var", "gradient of weight"} <= judged
        assert "num_batches_tracked" not in judged


# torch modules


@pytest.mark.parametrize(
    "options", [{}, {"memory_format": torch.channels_last}], ids=["as it is", "channels_last"]
)
def test_another_torch_module(options) -> None:
    module = torch_models.build("lenet5_bn")
    inputs = np.random.default_rng(0).random((4, 1, 28, 28), np.float32)
    assert_parity(module, TorchModule(torch_models.build("lenet5_bn"), **options), inputs)


def test_a_compiled_module() -> None:
    compiled: Any = torch.compile(TwoLayers().double(), backend="aot_eager")
    assert_parity(TwoLayers(), TorchModule(compiled), INPUTS)


def test_another_version_of_a_module_has_its_layers_named() -> None:
    class Wrong(nn.Linear):
        def forward(self, x):
            return super().forward(x) * 1.001

    other = TwoLayers().double()
    other.fc1 = Wrong(5, 5).double()
    with pytest.raises(DisagreementError) as caught:
        assert_parity(TwoLayers(), TorchModule(other), INPUTS)
    assert caught.value.culprits == ["fc1"]


def test_the_callers_module_is_left_alone() -> None:
    module, other = TwoLayers().double(), TwoLayers().double()
    before = copy.deepcopy(other.state_dict())
    assert_parity(module, TorchModule(other), INPUTS)
    assert all(torch.equal(before[name], value) for name, value in other.state_dict().items())


# JAX

jax = pytest.importorskip("jax", reason="needs jax, of the extra 'jax'")


def jax_dense(p, x):
    return x @ p["W"] + p["b"]


def of_jax(dense=jax_dense, dtype=np.float64):
    def network(p, x):
        return dense(p["fc2"], jax.numpy.tanh(jax_dense(p["fc1"], x)))

    layers = {"fc1": jax_dense, "fc2": (dense, "fc2")}
    return JaxFunction(jax.jit(network), of_functions(dtype=dtype).tree, layers=layers)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_jax_function(dtype) -> None:
    assert_parity(TwoLayers(), of_jax(dtype=dtype), INPUTS.astype(dtype), names=NAMES)


def test_a_wrong_jax_layer_has_its_name() -> None:
    def stopped(p, x):
        return x @ jax.lax.stop_gradient(p["W"]) * 0.5 + x @ p["W"] * 0.5 + p["b"]

    with pytest.raises(DisagreementError) as caught:
        assert_parity(TwoLayers(), of_jax(stopped), INPUTS, names=NAMES)
    assert caught.value.culprits == ["fc2"]


# Several inputs and outputs


class Scored(nn.Module):
    """Takes tokens and, by keyword, a scale; returns numbers and the places of the largest."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)

    def forward(self, tokens, scale):
        h = torch.tanh(self.embed(tokens)) * scale[:, None]
        return {"scores": h.sum(1), "most": h.argmax(1)}


def scored_in_jax(p, tokens, scale):
    h = jax.numpy.tanh(p["table"][tokens]) * scale[:, None]
    return {"scores": h.sum(1), "most": h.argmax(1)}


TOKENS = {"tokens": np.array([3, 0, 3, 6, 1]), "scale": np.linspace(0.5, 2, 5)}


@pytest.mark.parametrize(
    ("side", "names"),
    [
        (lambda: TorchModule(Scored().double()), None),
        (
            lambda: JaxFunction(scored_in_jax, {"table": np.zeros((7, 4))}),
            {"embed.weight": "table"},
        ),
    ],
    ids=["torch", "jax"],
)
def test_tokens_keywords_and_a_dict_of_outputs(side, names) -> None:
    comparison = assert_parity(Scored(), side(), TOKENS, names=names)
    judged = {check.tensor for check in comparison.checks}
    assert {"output[scores]", "output[most]", "gradient of input[scale]"} <= judged


def test_dropout_of_another_module_shares_its_masks() -> None:
    module = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.4), nn.Linear(8, 3))
    assert_parity(module, TorchModule(copy.deepcopy(module).double()), INPUTS, train=True)
