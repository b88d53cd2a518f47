"""25 optimizer steps on both sides, across two changes of the learning rate, step by step."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR

import numpy_models
import torch_models
from parity import assert_trajectory, follow
from parity.networks import NetworkCase, network_cases
from parity.steps import Recipe

STEPS, EPOCH_STEPS, STEP_SIZE = 25, 4, 3  # the rate changes after 12 and after 24 steps

# Each report's optimizer. R1's rate of 1e-5 would hardly move a weight in 25 steps, so its network
# runs at 1e-3; R3 and R4 state no rate.
OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "lenet5_relu": ("Adam", {"lr": 1e-3, "eps": 1e-7, "eps_mode": "uncorrected"}),
    "lenet5_tanh": ("Adam", {"lr": 1e-3}),
    "deepcnn21": ("Adagrad", {"lr": 1e-2, "eps": 1e-7}),
    "lenet5_avgpool": ("Adam", {"lr": 1e-3, "eps_mode": "inside_root"}),
    "lenet5_bn": ("Adam", {"lr": 1e-3}),
    "example_unit": ("SGD", {"lr": 1e-2, "momentum": 0.9, "nesterov": True}),
}


def recipe(optimizer: str, options: dict[str, Any]) -> Recipe:
    home = torch_models if hasattr(torch_models, optimizer) else torch.optim
    return Recipe(
        torch_optimizer=partial(getattr(home, optimizer), **options),
        numpy_optimizer=partial(getattr(numpy_models, optimizer), **options),
        torch_criterion=nn.CrossEntropyLoss(),
        numpy_criterion=numpy_models.CrossEntropyLoss(),
        torch_schedule=partial(StepLR, step_size=STEP_SIZE, gamma=0.5),
        numpy_schedule=partial(numpy_models.StepLR, step_size=STEP_SIZE, gamma=0.5),
        epoch_steps=EPOCH_STEPS,
    )


def batches(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, size: int = 4):
    """Noisy images of ten fixed prototypes, so that there is something to learn."""
    prototypes = rng.random((10, *shape))
    for _ in range(STEPS):
        targets = rng.integers(0, 10, size)
        yield (prototypes[targets] + 0.3 * rng.random((size, *shape))).astype(dtype), targets


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", network_cases(), ids=str)
def test_with_the_reports_optimizer(case: NetworkCase, dtype, rng) -> None:
    module = torch_models.build(case.name, **case.arguments)
    network = numpy_models.build(case.name, **case.arguments).to(dtype)
    how = recipe(*OPTIMIZERS.get(case.name, ("Adam", {})))
    before = {name: value.copy() for name, value in network.parameters().items()}
    trajectory = assert_trajectory(
        module, network, list(batches(rng, case.input, dtype)), how, name=str(case)
    )
    assert len(trajectory.steps) == STEPS
    assert all(not np.array_equal(before[n], p) for n, p in network.parameters().items())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
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
def test_every_option_of_every_optimizer(optimizer, options, dtype, rng) -> None:
    module = nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 10))
    layers = numpy_models.Linear(12, 8), numpy_models.Tanh(), numpy_models.Linear(8, 10)
    network = numpy_models.Sequential(*layers).to(dtype)
    steps = list(batches(rng, (12,), dtype))
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
def test_a_wrong_optimizer_is_caught_at_its_step(fault, step, tensor, rng) -> None:
    module = torch_models.build("lenet5_relu")
    network = numpy_models.build("lenet5_relu")
    right = recipe(*OPTIMIZERS["lenet5_relu"])
    wrong = recipe("Adam", {**OPTIMIZERS["lenet5_relu"][1], **fault})
    how = Recipe(**{**vars(right), "numpy_optimizer": wrong.numpy_optimizer})
    trajectory = follow(module, network, list(batches(rng, (1, 28, 28), np.float32)), how)
    assert not trajectory.passed
    assert len(trajectory.steps) == step
    assert tensor in {check.tensor for check in trajectory.failures}


def test_a_schedule_off_by_one_is_caught_at_the_boundary(rng) -> None:
    module = nn.Sequential(nn.Linear(12, 10))
    network = numpy_models.Sequential(numpy_models.Linear(12, 10))
    right = recipe("SGD", {"lr": 0.1})
    late = partial(numpy_models.StepLR, step_size=STEP_SIZE + 1, gamma=0.5)
    how = Recipe(**{**vars(right), "numpy_schedule": late})
    trajectory = follow(module, network, list(batches(rng, (12,), np.float32)), how)
    assert len(trajectory.steps) == STEP_SIZE * EPOCH_STEPS + 1
    assert trajectory.failures[0].tensor == "learning rate"
    assert "step 13 is the first to leave the envelope" in str(trajectory)
