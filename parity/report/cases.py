"""What the report runs of `parity.networks`, and how it tells of it."""

from __future__ import annotations

from typing import Any

from parity import networks
from parity.networks import EPOCH_STEPS, STEP_SIZE, STEPS, NetworkCase
from parity.steps import Recipe

TWINS = 3
RATE_CHANGES = list(range(EPOCH_STEPS * STEP_SIZE, STEPS, EPOCH_STEPS * STEP_SIZE))


def arguments_of(case: NetworkCase, dtype: str, seed: int) -> dict[str, Any]:
    """Return the arguments with which `parity.networks.pair` makes a case, fit for JSON."""
    return {"name": case.name, "dtype": dtype, "seed": seed, **case.arguments}


def optimizer_of(case: NetworkCase) -> str:
    """Return the optimizer of a case's report in words, for example "Adam (lr 0.001)"."""
    name, options = networks.optimizer_of(case)
    return f"{name} ({', '.join(f'{key} {value}' for key, value in options.items())})"


def recipe(case: NetworkCase) -> Recipe:
    """Return how a case is trained: its report's optimizer, the rate halved as `RATE_CHANGES`."""
    return networks.recipe(*networks.optimizer_of(case))
