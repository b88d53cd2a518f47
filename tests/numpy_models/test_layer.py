"""What every layer promises, one alone and a network alike."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from numpy_models import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
    SiLU,
    Tanh,
    build,
)

IMAGES = (3, 2, 6, 6)
LAYERS = {
    "Conv2d": lambda: Conv2d(2, 3, 3, padding=1),
    "strided Conv2d": lambda: Conv2d(2, 3, 3, stride=2),
    "BatchNorm2d": lambda: BatchNorm2d(2),
    "MaxPool2d": lambda: MaxPool2d(2),
    "overlapping MaxPool2d": lambda: MaxPool2d(3, stride=2, padding=1),
    "AvgPool2d": lambda: AvgPool2d(2),
    "overlapping AvgPool2d": lambda: AvgPool2d(3, stride=1),
    "ReLU": ReLU,
    "Tanh": Tanh,
    "SiLU": SiLU,
    "Flatten": Flatten,
    "Dropout": Dropout,
    "Residual": lambda: Residual(Conv2d(2, 2, 3, padding=1), ReLU()),
    "network": lambda: Sequential(
        body=Sequential(Conv2d(2, 4, 3), BatchNorm2d(4), ReLU(), MaxPool2d(2)),
        head=Sequential(Flatten(), Linear(16, 3)),
    ),
}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def small() -> Sequential:
    return Sequential(Conv2d(1, 2, 3), ReLU(), Flatten(), Linear(8, 3))


@pytest.mark.parametrize("size", [3, 1])
@pytest.mark.parametrize("kind", LAYERS)
def test_nothing_of_the_callers_changes_and_nothing_is_aliased(kind: str, size: int, rng) -> None:
    layer, x = LAYERS[kind](), rng.standard_normal((size, *IMAGES[1:]), np.float32)
    kept_x, parameters = x.copy(), layer.flat_parameters.copy()
    y = layer.forward(x)
    dy = rng.standard_normal(y.shape, np.float32)
    kept_dy, kept_y = dy.copy(), y.copy()
    dx = layer.backward(dy)
    kept_dx, gradients = dx.copy(), layer.flat_gradients.copy()
    assert x.shape == dx.shape
    assert np.array_equal(x, kept_x)
    x[...], y[...], dx[...] = 7, 7, 7
    assert np.array_equal(layer.backward(dy), kept_dx), "backward reads an array of the caller's"
    assert np.array_equal(layer.flat_gradients, gradients), "gradients accumulate"
    assert np.array_equal(dy, kept_dy)
    assert np.array_equal(layer.flat_parameters, parameters)
    y = layer.eval().forward(kept_x)
    kept_y = y.copy()
    layer.forward(kept_x[::-1])
    assert np.array_equal(y, kept_y), "an output changed when the layer ran again"


@pytest.mark.parametrize("kind", LAYERS)
def test_an_input_gradient_that_nobody_wants_is_skipped(kind: str, rng) -> None:
    layer, x = LAYERS[kind](), rng.standard_normal(IMAGES, np.float32)
    dy = rng.standard_normal(layer(x).shape, np.float32)
    layer.backward(dy)
    full = layer.flat_gradients.copy()
    assert layer.backward(dy, input_gradient=False) is None
    assert np.array_equal(layer.flat_gradients, full)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_vectors_are_what_the_dictionaries_show(kind: str) -> None:
    layer = LAYERS[kind]()
    for vector, arrays in (
        (layer.flat_parameters, layer.parameters()),
        (layer.flat_gradients, layer.gradients()),
    ):
        vector[...] = np.arange(vector.size)
        shown = [array.ravel() for array in arrays.values()]
        assert np.array_equal(np.concatenate([[], *shown]), vector)


@pytest.mark.parametrize("kind", LAYERS)
def test_float64_throughout(kind: str, rng) -> None:
    layer = LAYERS[kind]().to(np.float64)
    y = layer(rng.standard_normal(IMAGES))
    dx = layer.backward(np.ones_like(y))
    arrays = [y, dx, *layer.parameters().values(), *layer.gradients().values()]
    assert {array.dtype for array in arrays} == {np.dtype(np.float64)}


@pytest.mark.parametrize("kind", LAYERS)
def test_a_copy_is_independent_and_goes_on_the_same(kind: str, rng) -> None:
    layer, x = LAYERS[kind](), rng.standard_normal(IMAGES, np.float32)
    layer(x)
    twin = copy.deepcopy(layer)
    with pytest.raises(RuntimeError, match="before forward"):
        twin.backward(x)
    assert not np.shares_memory(twin.flat_parameters, layer.flat_parameters)
    assert np.array_equal(layer(x), twin(x))
    state = layer.state_dict()
    twin.flat_parameters[...] = 0
    for buffer in twin.buffers().values():
        buffer[...] = 0
    assert all(np.array_equal(state[name], value) for name, value in layer.state_dict().items())


def test_modes_reach_every_layer() -> None:
    net = Sequential(Residual(Sequential(Dropout(), Dropout())), Dropout())
    assert not any(leaf.training for leaf in net.eval().leaves().values())
    assert list(net.train().leaves()) == ["0.0.0", "0.0.1", "1"]
    assert all(leaf.training for leaf in net.leaves().values())


def test_a_refused_batch_leaves_no_backward(rng) -> None:
    net, x = small(), rng.standard_normal((2, 1, 4, 4), np.float32)
    dy = np.ones_like(net(x))
    with pytest.raises(ValueError, match="N >= 1"):
        net(x[:0])
    with pytest.raises(RuntimeError, match="before forward"):
        net.backward(dy)


def test_a_new_layer_needs_only_its_two_halves(rng) -> None:
    class Centred(Layer):
        """x less its mean over the batch, which is the last axis."""

        def forward_batch_last(self, x):
            return x - x.mean(axis=-1, keepdims=True)

        backward_batch_last = lambda self, dy, input_gradient=True: self.forward_batch_last(dy)  # noqa: E731

    x = rng.standard_normal((5, 2, 3, 4))
    net = Sequential(Centred()).to(np.float64)
    np.testing.assert_allclose(net(x), x - x.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(net.backward(x), x - x.mean(axis=0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ReLU().backward(np.zeros((1, 3))), None),
        (lambda: small().backward(np.zeros((1, 3))), None),
        (lambda: small()(np.zeros((1, 2, 4, 4), np.float32)), "layer 0: Conv2d expects 1 input"),
        (lambda: small()(np.zeros((1, 1, 5, 5), np.float32)), "layer 3: Linear expects 8"),
        (lambda: small()(np.zeros((1, 1, 4, 4))), "is float32, got input of float64"),
        (lambda: small()(np.zeros((0, 1, 4, 4), np.float32)), "N >= 1"),
        (lambda: Linear(3, 2)(np.zeros(3, np.float32)), r"got shape \(3,\)"),
        (
            lambda: Conv2d(1, 1, (3, 5), stride=2, padding=1)(np.zeros((1, 1, 9, 2), np.float32)),
            r"empty output: input 9x2, kernel 3x5, stride 2x2, padding 1x1 -> output 5x0",
        ),
        (
            lambda: MaxPool2d(4)(np.zeros((1, 1, 3, 8), np.float32)),
            r"input 3x8, kernel 4x4, stride 4x4, padding 0x0 -> output 0x2",
        ),
        (lambda: AvgPool2d(2, padding=2), "at most half of the kernel"),
        (lambda: Conv2d(1, 1, 0), "kernel_size must be"),
        (lambda: Conv2d(1, 0, 3), "out_channels"),
        (lambda: Conv2d(1, 1, (3, 3, 3)), "pair"),
        (lambda: MaxPool2d(2, ties="last"), '"first" or "all"'),
        (lambda: Dropout(1.5), "probability"),
        (lambda: build("deepcnn21", depth=7), "depth must be 4, 5 or 6"),
        (lambda: small().to(np.int64), "float32 or float64"),
        (lambda: small().layers["0"].to(np.float64), "part of a network"),
        (
            lambda: BatchNorm2d(1)(np.ones((1, 1, 1, 1), np.float32)),
            "more than 1 value per channel",
        ),
    ],
)
def test_misuse_is_answered_in_one_sentence(call, message) -> None:
    expected = RuntimeError if message is None else ValueError
    with pytest.raises(expected, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
