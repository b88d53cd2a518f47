"""What the report runs: pairs on fixed numbers, and each report's optimizer on fixed batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR

import numpy_models
import torch_models
from parity.factory import Pair
from parity.networks import NetworkCase
from parity.steps import Batch, Recipe

SAMPLES, BATCH = 8, 4
STEPS, EPOCH_STEPS, STEP_SIZE = 25, 4, 3
TWINS = 3
RATE_CHANGES = list(range(EPOCH_STEPS * STEP_SIZE, STEPS, EPOCH_STEPS * STEP_SIZE))

# R1's rate of 1e-5 would hardly move a weight in 25 steps. R3 and R4 state no rate.
_OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "lenet5_relu": ("Adam", {"lr": 1e-3, "eps": 1e-7, "eps_mode": "uncorrected"}),
    "lenet5_tanh": ("Adam", {"lr": 1e-3}),
    "deepcnn21": ("Adagrad", {"lr": 1e-2, "eps": 1e-7}),
    "lenet5_avgpool": ("Adam", {"lr": 1e-3, "eps_mode": "inside_root"}),
    "example_unit": ("SGD", {"lr": 1e-2, "momentum": 0.9}),
}
_OTHERWISE: tuple[str, dict[str, Any]] = ("Adam", {"lr": 1e-3})


def arguments_of(case: NetworkCase, dtype: str, seed: int) -> dict[str, Any]:
    """Return the arguments with which `pair` makes a case, as plain data that JSON can hold."""
    return {
        "network": case.name,
        "arguments": dict(case.arguments),
        "input": list(case.input),
        "dtype": dtype,
        "seed": seed,
    }


def pair(
    network: str, arguments: Mapping[str, Any], input: Sequence[int], dtype: str, seed: int
) -> Pair:
    """Return both sides of a network with random images, targets and the cross-entropy loss.

    Args:
        network: file stem of the network on both sides.
        arguments: arguments of its class.
        input: shape of one sample, (C, H, W).
        dtype: "float32" or "float64".
        seed: of weights, images, targets and dropout masks; the same numbers in both dtypes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = torch_models.build(network, **arguments)
    twin = numpy_models.build(network, **arguments).to(np.dtype(dtype))
    rng = np.random.default_rng((seed, 2))
    return Pair(
        module,
        twin,
        rng.standard_normal((SAMPLES, *input)).astype(dtype),
        targets=rng.integers(0, 10, SAMPLES),
        torch_criterion=nn.CrossEntropyLoss(),
        numpy_criterion=numpy_models.CrossEntropyLoss(),
        seed=seed,
        name=str(NetworkCase(network, dict(arguments), tuple(input))),
    )


def optimizer_of(case: NetworkCase) -> str:
    """Return the optimizer of a case's report in words, for example "Adam (lr 0.001)"."""
    name, options = _OPTIMIZERS.get(case.name, _OTHERWISE)
    return f"{name} ({', '.join(f'{key} {value}' for key, value in options.items())})"


def recipe(case: NetworkCase) -> Recipe:
    """Return how a case is trained: its report's optimizer, the rate halved as `RATE_CHANGES`."""
    name, options = _OPTIMIZERS.get(case.name, _OTHERWISE)
    home = torch_models if hasattr(torch_models, name) else torch.optim
    schedule: dict[str, Any] = {"step_size": STEP_SIZE, "gamma": 0.5}
    return Recipe(
        torch_optimizer=partial(getattr(home, name), **options),
        numpy_optimizer=partial(getattr(numpy_models, name), **options),
        torch_criterion=nn.CrossEntropyLoss(),
        numpy_criterion=numpy_models.CrossEntropyLoss(),
        torch_schedule=partial(StepLR, **schedule),
        numpy_schedule=partial(numpy_models.StepLR, **schedule),
        epoch_steps=EPOCH_STEPS,
    )


def batches(case: NetworkCase, dtype: str, seed: int) -> list[Batch]:
    """Return the training batches: noisy images of ten prototypes, so that there is a lesson."""
    rng = np.random.default_rng((seed, 3))
    prototypes = rng.random((10, *case.input))
    made = []
    for _ in range(STEPS):
        targets = rng.integers(0, 10, BATCH)
        images = prototypes[targets] + 0.3 * rng.random((BATCH, *case.input))
        made.append((images.astype(dtype), targets))
    return made
