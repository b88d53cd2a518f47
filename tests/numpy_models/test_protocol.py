"""The protocol every NumPy network keeps, and the sentences it answers misuse with."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from numpy_models import (
    SGD,
    Adam,
    AvgPool2d,
    Conv2d,
    CrossEntropyLoss,
    Dropout,
    Flatten,
    LeNet5BN,
    LeNet5ReLU,
    Linear,
    MaxPool2d,
    MSELoss,
    ReLU,
    Sequential,
    StepLR,
    build,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def small() -> Sequential:
    return Sequential(Conv2d(1, 2, 3), ReLU(), Flatten(), Linear(8, 3))


def test_gradients_are_overwritten_not_accumulated(rng) -> None:
    net, x = small(), rng.standard_normal((2, 1, 4, 4), np.float32)
    dy = rng.standard_normal(net(x).shape, np.float32)
    net.backward(dy)
    once = {name: gradient.copy() for name, gradient in net.gradients().items()}
    net.forward(x)
    net.backward(dy)
    assert all(np.array_equal(once[name], net.gradients()[name]) for name in once)


def test_backward_twice_gives_the_same_again(rng) -> None:
    net, x = LeNet5BN(), rng.standard_normal((4, 1, 28, 28), np.float32)
    dy = rng.standard_normal(net(x).shape, np.float32)
    assert np.array_equal(net.backward(dy), net.backward(dy))


def test_nothing_of_the_callers_changes_and_nothing_is_aliased(rng) -> None:
    net, x = LeNet5ReLU(), rng.standard_normal((3, 1, 28, 28), np.float32)
    kept_x, weights = x.copy(), net.flat_parameters.copy()
    y = net.forward(x)
    dy = rng.standard_normal(y.shape, np.float32)
    kept_dy, kept_y = dy.copy(), y.copy()
    dx = net.backward(dy)
    x[...] = 0
    again = net.backward(dy)
    assert np.array_equal(dx, again), "backward reads the caller's input after forward"
    assert np.array_equal(dy, kept_dy)
    assert np.array_equal(net.flat_parameters, weights)
    net.forward(kept_x[::-1])
    assert np.array_equal(y, kept_y), "an output changed when the network ran again"


def test_input_gradient_can_be_skipped(rng) -> None:
    net, x = small(), rng.standard_normal((2, 1, 4, 4), np.float32)
    dy = rng.standard_normal(net(x).shape, np.float32)
    net.backward(dy)
    full = net.flat_gradients.copy()
    assert net.backward(dy, input_gradient=False) is None
    assert np.array_equal(net.flat_gradients, full)


def test_state_round_trip_copies(rng) -> None:
    net, other = LeNet5BN(), LeNet5BN()
    net.forward(rng.standard_normal((4, 1, 28, 28), np.float32))
    state = net.state_dict()
    other.load_state_dict(state)
    state["c1.weight"][...] = 0
    assert np.abs(other.parameters()["c1.weight"]).max() > 0
    assert all(np.array_equal(v, other.state_dict()[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("out.bias"), r"missing \['out.bias'\]"),
        (lambda s: s.update(extra=np.zeros(1)), r"extra \['extra'\]"),
        (lambda s: s.update({"out.bias": np.zeros(9, np.float32)}), r"out.bias.*\(10,\).*\(9,\)"),
        (lambda s: s.update({"out.bias": np.zeros(10)}), r"out.bias.*float32.*float64"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message) -> None:
    net = LeNet5ReLU()
    before, state = net.flat_parameters.copy(), LeNet5ReLU().state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        net.load_state_dict(state)
    assert np.array_equal(net.flat_parameters, before)


def test_a_copy_is_independent(rng) -> None:
    net = LeNet5BN()
    twin = copy.deepcopy(net)
    x = rng.standard_normal((4, 1, 28, 28), np.float32)
    assert np.array_equal(net.eval()(x), twin.eval()(x))
    twin.flat_parameters[...] = 0
    assert np.abs(net.parameters()["c1.weight"]).max() > 0
    assert not twin.parameters()["c1.weight"].any()


def test_a_copy_draws_masks_of_its_own() -> None:
    net, x = Sequential(Dropout(0.5)), np.ones((4, 50), np.float32)
    expected, twin = net.copy()(x), net.copy()
    assert np.array_equal(twin(x), expected)
    twin(x)
    assert np.array_equal(net(x), expected)


def test_predict_gives_classes_and_restores_the_mode(rng) -> None:
    net = build("deepcnn21").train()
    x = rng.standard_normal((5, 1, 28, 28), np.float32)
    classes = net.predict(x, batch_size=2)
    assert net.training
    assert np.array_equal(classes, net.eval()(x).argmax(axis=1))


def test_float64_throughout(rng) -> None:
    net = LeNet5BN().to(np.float64)
    y = net(rng.standard_normal((2, 1, 28, 28)))
    assert y.dtype == net.backward(np.ones_like(y)).dtype == np.float64
    assert {a.dtype for a in net.parameters().values()} == {np.dtype(np.float64)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Sequential(), "at least one layer"),
        (lambda: Sequential(3), "takes layers, got 3"),
        (lambda: small().backward(np.zeros((1, 3))), None),
        (lambda: small()(np.zeros((1, 2, 4, 4), np.float32)), "layer 0: Conv2d expects 1 input"),
        (lambda: small()(np.zeros((1, 1, 5, 5), np.float32)), "layer 3: Linear expects 8"),
        (lambda: small()(np.zeros((1, 1, 4, 4))), "is float32, got input of float64"),
        (lambda: small()(np.zeros((0, 1, 4, 4), np.float32)), "N >= 1"),
        (
            lambda: Sequential(Conv2d(1, 1, (3, 5), stride=2, padding=1))(
                np.zeros((1, 1, 9, 2), np.float32)
            ),
            r"empty output: input 9x2, kernel 3x5, stride 2x2, padding 1x1 -> output 5x0",
        ),
        (
            lambda: Sequential(MaxPool2d(4))(np.zeros((1, 1, 3, 8), np.float32)),
            r"input 3x8, kernel 4x4, stride 4x4, padding 0x0 -> output 0x2",
        ),
        (lambda: AvgPool2d(2, padding=2), "at most half of the kernel"),
        (lambda: Conv2d(1, 1, 0), "kernel_size must be"),
        (lambda: Conv2d(1, 0, 3), "out_channels"),
        (lambda: Conv2d(1, 1, (3, 3, 3)), "pair"),
        (lambda: MaxPool2d(2, ties="last"), '"first" or "all"'),
        (lambda: Dropout(1.5), "probability"),
        (lambda: build("lenet6"), "no network named 'lenet6'"),
        (lambda: build("deepcnn21", width=3), r"does not take \['width'\].*depth"),
        (lambda: build("deepcnn21", depth=7), "depth must be 4, 5 or 6"),
        (lambda: small().to(np.int64), "float32 or float64"),
        (lambda: Adam(small(), lr=-1), "lr must be"),
        (lambda: Adam(small(), eps_mode="tf"), "eps_mode must be"),
        (lambda: SGD(small(), 0.1, nesterov=True), "nesterov needs a momentum"),
        (lambda: StepLR(SGD(small(), 0.1), 0), "step_size must be"),
        (lambda: CrossEntropyLoss(2), "label_smoothing"),
        (lambda: CrossEntropyLoss()(np.zeros((2, 3)), np.array([0, 3])), r"lie in 0..2, got 0..3"),
        (lambda: CrossEntropyLoss()(np.zeros((2, 3)), np.array([0.0, 1.0])), "integer class"),
        (lambda: CrossEntropyLoss()(np.zeros((2, 3)), np.array([0])), r"\(2, 3\) and \(1,\)"),
        (lambda: MSELoss()(np.zeros(2), np.zeros(3)), "one shape"),
    ],
)
def test_misuse_is_answered_in_one_sentence(call, message) -> None:
    expected = RuntimeError if message is None else ValueError
    with pytest.raises(expected, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_layer_belongs_to_one_network() -> None:
    net = small()
    with pytest.raises(ValueError, match=r"already belongs .* layer.copy\(\)"):
        Sequential(net.layers["0"])
    alone = Sequential(net.layers["0"].copy())
    assert np.array_equal(alone.parameters()["0.weight"], net.parameters()["0.weight"])


def test_losses_refuse_backward_before_forward() -> None:
    for criterion in (CrossEntropyLoss(), MSELoss()):
        with pytest.raises(RuntimeError, match="before forward"):
            criterion.backward()


def test_optimizer_state_round_trip_continues_the_same(rng) -> None:
    nets = [small(), small()]
    nets[1].load_state_dict(nets[0].state_dict())
    optimizers = [Adam(net, lr=0.01) for net in nets]
    gradients = rng.standard_normal((6, nets[0].flat_gradients.size), np.float32)
    for i, gradient in enumerate(gradients):
        for net, optimizer in zip(nets, optimizers, strict=True):
            net.flat_gradients[...] = gradient
            optimizer.step()
        if i == 2:  # go on with a fresh optimizer that took over the state
            state = optimizers[1].state_dict()
            optimizers[1] = Adam(nets[1], lr=0.5)
            optimizers[1].load_state_dict(state)
    assert np.array_equal(nets[0].flat_parameters, nets[1].flat_parameters)
    with pytest.raises(ValueError, match="missing"):
        optimizers[0].load_state_dict({"step": 1, "lr": 0.1})
