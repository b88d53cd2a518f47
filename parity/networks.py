"""The networks under test, and on what they are tried: numbers, loss, optimizer and batches.

They are those the witness knows, and any that a configuration file adds. Tests, report and command
line all take them from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn
from torch.optim.lr_scheduler import StepLR

import numpy_models
import torch_models
from parity.pair import Pair
from parity.steps import Batch, Recipe
from parity.witness import witnesses
from training.environment import CONF

SAMPLES, BATCH = 8, 4
STEPS, EPOCH_STEPS, STEP_SIZE = 25, 4, 3  # the rate is halved after 12 and after 24 steps

_CONFIGURATIONS = CONF / "model"

# Each report's optimizer. R1's rate of 1e-5 would hardly move a weight in 25 steps, so its network
# runs at 1e-3; R3 and R4 state no rate.
_OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "lenet5_relu": ("Adam", {"lr": 1e-3, "eps": 1e-7, "eps_mode": "uncorrected"}),
    "lenet5_tanh": ("Adam", {"lr": 1e-3}),
    "deepcnn21": ("Adagrad", {"lr": 1e-2, "eps": 1e-7}),
    "lenet5_avgpool": ("Adam", {"lr": 1e-3, "eps_mode": "inside_root"}),
    "example_unit": ("SGD", {"lr": 1e-2, "momentum": 0.9}),
}
_OTHERWISE: tuple[str, dict[str, Any]] = ("Adam", {"lr": 1e-3})


@dataclass(frozen=True)
class NetworkCase:
    """A network by its file's name, its class's arguments, and a sample's shape (C, H, W)."""

    name: str
    arguments: dict[str, Any]
    input: tuple[int, ...]

    def __str__(self) -> str:
        options = ", ".join(f"{key}={value}" for key, value in self.arguments.items())
        return f"{self.name}({options})" if options else self.name


def network_cases() -> list[NetworkCase]:
    """Return the witness's networks, then those that only ``conf/model`` has."""
    cases = [NetworkCase(w.network, w.arguments, w.input) for w in witnesses()]
    known = {case.name for case in cases}
    for path in sorted(_CONFIGURATIONS.glob("*.yaml")):
        settings = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        name, size = settings.get("name", path.stem), int(settings.get("image_size", 28))
        if name not in known:
            cases.append(NetworkCase(name, dict(settings.get("arguments") or {}), (1, size, size)))
    return cases


def pair(
    name: str, dtype: str = "float32", batch: int = SAMPLES, seed: int = 0, **arguments: Any
) -> Pair:
    """Return both sides of a network with random images, targets and the cross-entropy loss.

    A seed gives the same weights, images, targets and dropout masks in float32 and float64.
    """
    shape = next((case.input for case in network_cases() if case.name == name), (1, 28, 28))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = torch_models.build(name, **arguments)
    network = numpy_models.build(name, **arguments).to(np.dtype(dtype))
    rng = np.random.default_rng((seed, 2))
    return Pair(
        module,
        network,
        rng.standard_normal((batch, *shape)).astype(dtype),
        targets=rng.integers(0, 10, batch),
        torch_criterion=nn.CrossEntropyLoss(),
        numpy_criterion=numpy_models.CrossEntropyLoss(),
        seed=seed,
        vary=False,  # single images, large numbers and odd sizes have tests of their own
        name=str(NetworkCase(name, arguments, shape)),
    )


def optimizer_of(case: NetworkCase) -> tuple[str, dict[str, Any]]:
    """Return the optimizer of a network's report: its name on both sides, and its options."""
    return _OPTIMIZERS.get(case.name, _OTHERWISE)


def recipe(optimizer: str, options: dict[str, Any]) -> Recipe:
    """Return how both sides train: an optimizer by name; each `STEP_SIZE` epochs halve the rate."""
    home = torch_models if hasattr(torch_models, optimizer) else torch.optim
    schedule: dict[str, Any] = {"step_size": STEP_SIZE, "gamma": 0.5}
    return Recipe(
        torch_optimizer=partial(getattr(home, optimizer), **options),
        numpy_optimizer=partial(getattr(numpy_models, optimizer), **options),
        torch_criterion=nn.CrossEntropyLoss(),
        numpy_criterion=numpy_models.CrossEntropyLoss(),
        torch_schedule=partial(StepLR, **schedule),
        numpy_schedule=partial(numpy_models.StepLR, **schedule),
        epoch_steps=EPOCH_STEPS,
    )


def batches(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> list[Batch]:
    """Return `STEPS` training batches: noisy samples of ten prototypes, so that there is a lesson.

    A seed gives the same numbers in float32 and float64.
    """
    rng = np.random.default_rng((seed, 3))
    prototypes = rng.random((10, *shape))
    made = []
    for _ in range(STEPS):
        targets = rng.integers(0, 10, BATCH)
        samples = prototypes[targets] + 0.3 * rng.random((BATCH, *shape))
        made.append((samples.astype(dtype), targets))
    return made
