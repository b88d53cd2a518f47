"""Mistakes in the learning-rate schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from torch.optim import lr_scheduler as torch_schedules

from numpy_models import StepLR
from parity.faults.record import Ledger, Plant, Scene


def instead(kind: type[StepLR], **changes: object) -> Plant:
    """Plant by making another schedule; torch's side steps by 2 epochs."""

    def plant(scene: Scene) -> None:
        options: dict[str, Any] = {"step_size": 2, "gamma": 0.5}
        scene.recipe = replace(
            scene.recipe,
            torch_schedule=partial(torch_schedules.StepLR, **options),
            numpy_schedule=partial(kind, **{**options, **changes}),
            epoch_steps=1,
        )

    return plant


def falling(factor: Callable[[int, int, float], float]) -> type[StepLR]:
    """Return a schedule that multiplies the rate by factor(epoch, step_size, γ) at every epoch."""

    class Falling(StepLR):
        def step(self):
            self.last_epoch += 1
            self.optimizer.lr *= factor(self.last_epoch, self.step_size, self.gamma)

    return Falling


fault = Ledger("schedule", "schedule", "perceptron", how=instead)
FAULTS = fault.faults

for name, factor in (
    ("StepLR one epoch late", lambda t, size, gamma: gamma if t > 1 and t % size == 1 else 1),
    ("StepLR one epoch early", lambda t, size, gamma: gamma if (t + 1) % size == 0 else 1),
    ("rate falls at every epoch", lambda t, size, gamma: gamma if t >= size else 1),
    ("rate falls only once", lambda t, size, gamma: gamma if t == size else 1),
    ("rate falls by another share", lambda t, size, gamma: 1 if t % size else 1 - 0.9 * gamma),
    ("rate falls smoothly", lambda t, size, gamma: gamma ** (1 / size)),
):
    fault(name)(falling(factor))
fault("γ off by 0.1 %", gamma=0.4995)(StepLR)
fault("stepped twice as often", step_size=1)(StepLR)
