"""25 optimizer steps on both sides, across two changes of the learning rate, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
from torch import nn

import numpy_models
from parity import Recipe, assert_trajectory, follow
from parity.networks import (
    EPOCH_STEPS,
    STEP_SIZE,
    STEPS,
    NetworkCase,
    batches,
    network_cases,
    optimizer_of,
    pair,
    recipe,
)

RELU = NetworkCase("lenet5_relu", {}, (1, 28, 28))


def cases() -> Iterator[tuple[NetworkCase, str]]:
    """Each network in both dtypes, its variants of other depths in float32."""
    first = {case.name: case for case in reversed(network_cases())}
    for case in network_cases():
        yield case, "float32"
        if case == first[case.name]:
            yield case, "float64"


@pytest.mark.kernels
@pytest.mark.parametrize(("case", "dtype"), [*cases()], ids=str)
def test_with_the_reports_optimizer(case: NetworkCase, dtype) -> None:
    made = pair(case.name, dtype, **case.arguments)
    network, how = made.numpy_network, recipe(*optimizer_of(case))
    before = {name: value.copy() for name, value in network.parameters().items()}
    steps = batches(case.input, dtype)
    trajectory = assert_trajectory(made.torch_module, network, steps, how, name=made.name)
    assert len(trajectory.steps) == STEPS
    assert all(not np.array_equal(before[n], p) for n, p in network.parameters().items())


@pytest.mark.kernels
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        ("SGD", {"lr": 0.1}),
        ("SGD", {"lr": 0.1, "weight_decay": 0.01}),
        ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
        ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
        ("Adagrad", {"lr": 0.02}),
        (
            "Adagrad",
            {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.01, "initial_accumulator_value": 0.5},
        ),
        ("Adam", {"lr": 0.01, "betas": (0.7, 0.9), "eps": 1e-2, "weight_decay": 0.01}),
        ("Adam", {"lr": 0.01, "eps": 1e-2, "weight_decay": 0.01, "eps_mode": "uncorrected"}),
        ("Adam", {"lr": 0.01, "eps": 1e-2, "weight_decay": 0.01, "eps_mode": "inside_root"}),
    ],
    ids=str,
)
def test_every_option_of_every_optimizer(optimizer, options, dtype) -> None:
    module = nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 10))
    layers = numpy_models.Linear(12, 8), numpy_models.Tanh(), numpy_models.Linear(8, 10)
    network = numpy_models.Sequential(*layers).to(dtype)
    steps = batches((12,), dtype)
    assert_trajectory(module, network, steps, recipe(optimizer, options), name=optimizer)


@pytest.mark.parametrize(
    ("fault", "step", "tensor"),
    [
        ({"lr": 1.001e-3}, 1, "learning rate"),
        ({"eps": 1.2e-7}, 1, "weight"),
        ({"eps_mode": "torch"}, 1, "weight"),
        ({"eps_mode": "inside_root"}, 1, "weight"),
        ({"betas": (0.9, 0.9991)}, 1, "exp_avg_sq of weight"),
        ({"betas": (0.899, 0.999)}, 1, "exp_avg of weight"),
        ({"weight_decay": 1e-4}, 1, "exp_avg of weight"),
    ],
    ids=str,
)
def test_a_wrong_optimizer_is_caught_at_its_step(fault, step, tensor) -> None:
    made, (optimizer, options) = pair(RELU.name), optimizer_of(RELU)
    right, wrong = recipe(optimizer, options), recipe(optimizer, {**options, **fault})
    how = Recipe(**{**vars(right), "numpy_optimizer": wrong.numpy_optimizer})
    steps = batches(RELU.input, "float32")
    trajectory = follow(made.torch_module, made.numpy_network, steps, how)
    assert not trajectory.passed
    assert len(trajectory.steps) == step
    assert tensor in {check.tensor for check in trajectory.failures}


def test_a_schedule_off_by_one_is_caught_at_the_boundary() -> None:
    module = nn.Sequential(nn.Linear(12, 10))
    network = numpy_models.Sequential(numpy_models.Linear(12, 10))
    right = recipe("SGD", {"lr": 0.1})
    late = partial(numpy_models.StepLR, step_size=STEP_SIZE + 1, gamma=0.5)
    how = Recipe(**{**vars(right), "numpy_schedule": late})
    trajectory = follow(module, network, batches((12,), "float32"), how)
    assert len(trajectory.steps) == STEP_SIZE * EPOCH_STEPS + 1
    assert trajectory.failures[0].tensor == "learning rate"
    assert "step 13 is the first to leave the envelope" in str(trajectory)
