"""Ten steps of torch's Adam on a small network, and yours beside it."""

from typing import Any

import numpy as np
import torch
from torch import nn

import numpy_models
from parity import Recipe
from parity.grading.parts import Training

SETTINGS: dict[str, Any] = {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6}


class Bound:
    """Your Adam, bound to a network: what parity takes for an optimizer."""

    def __init__(self, adam: Any, network: Any) -> None:
        self.adam, self.network, self.lr = adam, network, SETTINGS["lr"]

    def step(self) -> None:
        """Make one step with your Adam."""
        self.adam.step(self.network.parameters(), self.network.gradients())

    def state_dict(self) -> dict[str, Any]:
        """Return the moments under torch's names."""
        moments = {"exp_avg": self.adam.m, "exp_avg_sq": self.adam.v}
        return {f"{kind}.{name}": held[name] for kind, held in moments.items() for name in held}


def pairs(solution: Any) -> Training:
    """Return both networks, the batches, and how to train."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((10, 8, 4)).astype(np.float32)
    y = rng.integers(0, 3, (10, 8))
    recipe = Recipe(
        torch_optimizer=lambda parameters: torch.optim.Adam(parameters, **SETTINGS),
        numpy_optimizer=lambda network: Bound(solution.Adam(**SETTINGS), network),
        torch_criterion=nn.CrossEntropyLoss(),
        numpy_criterion=numpy_models.CrossEntropyLoss(),
    )
    batches = list(zip(x, y, strict=True))
    return Training(nn.Linear(4, 3), numpy_models.Linear(4, 3), batches, recipe)
