"""Optimizers with other states and names of their own, held step by step."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import numpy_models
from parity import DisagreementError, Recipe, assert_trajectory, follow
from parity.sides import FunctionalOptimizer, JaxFunction, TorchModule, TorchOptimizer
from tests.parity.renamed import TWO, TorchTwo, Two

ADAM = {"exp_avg": "m", "exp_avg_sq": "v"}
BATCHES = [
    (rng.standard_normal((4, 4)), rng.integers(0, 3, 4))
    for rng in map(np.random.default_rng, range(6))
]


class Stateless:
    """Adam as textbooks have it, with a rate called α and a state that nobody sees."""

    def __init__(self, network, alpha=1e-2, beta2=0.999, correct=True) -> None:
        self.network, self.alpha, self.beta2, self.correct, self.t = (
            network,
            alpha,
            beta2,
            correct,
            0,
        )
        self.m = {name: np.zeros_like(p) for name, p in network.parameters().items()}
        self.v = {name: np.zeros_like(p) for name, p in network.parameters().items()}

    def step(self) -> None:
        self.t += 1
        gradients = self.network.gradients()
        for name, parameter in self.network.parameters().items():
            g = gradients[name]
            self.m[name] = 0.9 * self.m[name] + 0.1 * g
            self.v[name] = self.beta2 * self.v[name] + (1 - self.beta2) * g**2
            m, v = self.m[name], self.v[name]
            if self.correct:
                m, v = m / (1 - 0.9**self.t), v / (1 - self.beta2**self.t)
            parameter -= self.alpha * m / (np.sqrt(v) + 1e-8)


class TextbookAdam(Stateless):
    """The same, showing its state as m.<name> and <name>.v."""

    def state_dict(self):
        m = {f"m.{name}": value for name, value in self.m.items()}
        return m | {f"{name}.v": value for name, value in self.v.items()} | {"t": self.t}


def recipe(numpy_optimizer, states, **more):
    return Recipe(
        torch_optimizer=partial(torch.optim.Adam, lr=1e-2),
        numpy_optimizer=numpy_optimizer,
        torch_criterion=nn.CrossEntropyLoss(),
        numpy_criterion=numpy_models.CrossEntropyLoss(),
        states=states,
        **more,
    )


RATE = {"learning rate": "alpha"}


def test_states_and_rate_under_other_names() -> None:
    trajectory = assert_trajectory(
        TorchTwo(), Two(), BATCHES, recipe(TextbookAdam, ADAM | RATE), names=TWO
    )
    judged = {check.tensor for check in trajectory.steps[-1]}
    assert {"weight", "exp_avg of weight", "exp_avg_sq of bias", "learning rate"} <= judged
    assert len(trajectory.steps) == len(BATCHES)


def test_weights_are_held_where_states_are_not_shown() -> None:
    missing = dict.fromkeys([*ADAM, "learning rate"])
    assert_trajectory(TorchTwo(), Two(), BATCHES, recipe(Stateless, missing), names=TWO)
    wrong = recipe(partial(Stateless, correct=False), missing)
    with pytest.raises(DisagreementError) as caught:
        assert_trajectory(TorchTwo(), Two(), BATCHES, wrong, names=TWO)
    assert caught.value.culprits == ["optimizer"]
    assert "step 1 is the first to leave" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "states", "tensor"),
    [
        ({"beta2": 0.9991}, ADAM | RATE, "exp_avg_sq of weight"),
        ({"alpha": 1.001e-2}, ADAM | RATE, "learning rate"),
        ({}, {"exp_avg": "v", "exp_avg_sq": "m"} | RATE, "exp_avg of weight"),
        ({}, {"exp_avg": "m"} | RATE, "exp_avg_sq of weight"),  # a state that nothing was said of
    ],
    ids=["a beta", "the rate", "states exchanged", "a state forgotten"],
)
def test_a_wrong_state_is_told(options, states, tensor) -> None:
    how = recipe(partial(TextbookAdam, **options), states)
    trajectory = follow(TorchTwo(), Two(), BATCHES, how, names=TWO)
    assert tensor in {check.tensor for check in trajectory.failures}


def test_torchs_own_optimizer_fused() -> None:
    def fused(side):
        return TorchOptimizer(side, partial(torch.optim.Adam, lr=1e-2, fused=True))

    side = TorchModule(TorchTwo().double())
    assert_trajectory(TorchTwo(), side, BATCHES, recipe(fused, {}))


def test_a_functional_optimizer_in_jax() -> None:
    jax = pytest.importorskip("jax", reason="needs jax, of the extra 'jax'")
    jnp, tree = jax.numpy, jax.tree

    def network(p, x):
        return jnp.tanh(x @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]

    def adam(gradients, state, parameters, beta2=0.999):
        t = state["t"] + 1
        m = tree.map(lambda m, g: 0.9 * m + 0.1 * g, state["m"], gradients)
        v = tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, state["v"], gradients)

        def moved(p, m, v):
            return p - 1e-2 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - beta2**t)) + 1e-8)

        return tree.map(moved, parameters, m, v), {"m": m, "v": v, "t": t}

    def optimizer(update):
        def make(side):
            zeros = [tree.map(np.zeros_like, side.tree) for _ in "mv"]
            return FunctionalOptimizer(side, update, {"m": zeros[0], "v": zeros[1], "t": 0}, 1e-2)

        return make

    side = JaxFunction(network, Two().parameters())
    assert_trajectory(TorchTwo(), side, BATCHES, recipe(optimizer(adam), ADAM), names=TWO)
    wrong = recipe(optimizer(partial(adam, beta2=0.9991)), ADAM)
    with pytest.raises(DisagreementError) as caught:
        assert_trajectory(TorchTwo(), side, BATCHES, wrong, names=TWO)
    assert caught.value.culprits == ["optimizer"]


def test_tokens_and_torchs_own_dropout_are_trained_on() -> None:
    class Torch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.drop, self.out = nn.Embedding(7, 6), nn.Dropout(0.5), nn.Linear(6, 3)

        def forward(self, tokens):
            return self.out(self.drop(self.embed(tokens)))

    rng = np.random.default_rng(0)
    steps = [(rng.integers(0, 7, 5), rng.integers(0, 3, 5)) for _ in range(4)]
    side = TorchModule(Torch().double())
    make = partial(torch.optim.Adam, lr=1e-2)
    assert_trajectory(Torch(), side, steps, recipe(lambda side: TorchOptimizer(side, make), {}))
