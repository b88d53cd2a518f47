"""Optimizers over any layer's vector of parameters, their state and their schedule."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_models import SGD, Adam, Linear, Sequential, StepLR


def small() -> Sequential:
    return Sequential(Linear(4, 3), Linear(3, 2))


def test_state_round_trip_continues_the_same() -> None:
    nets = [small(), small()]
    nets[1].load_state_dict(nets[0].state_dict())
    optimizers = [Adam(net, lr=0.01) for net in nets]
    rng = np.random.default_rng(0)
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


def test_a_whole_number_is_a_rate_too() -> None:
    optimizer, other = (SGD(small(), lr=1) for _ in range(2))
    StepLR(optimizer, 1, gamma=0.5).step()
    other.load_state_dict(optimizer.state_dict())
    assert other.lr == 0.5


def test_a_lone_layer_is_trained_too() -> None:
    layer = Linear(1, 1)
    layer.flat_parameters[...], layer.flat_gradients[...] = 1, 2
    SGD(layer, lr=0.25).step()
    assert layer.parameters()["weight"] == layer.parameters()["bias"] == 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Adam(small(), lr=-1), "lr must be"),
        (lambda: Adam(small(), eps_mode="tf"), "eps_mode must be"),
        (lambda: SGD(small(), 0.1, nesterov=True), "nesterov needs a momentum"),
        (lambda: StepLR(SGD(small(), 0.1), 0), "step_size must be"),
    ],
)
def test_misuse_is_answered_in_one_sentence(call, message) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
