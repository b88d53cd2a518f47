"""Mistakes in the learning-rate schedule."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch.optim import lr_scheduler as torch_schedules

from numpy_models import StepLR
from parity.faults.record import Ledger, Plant, Scene


def instead(kind: type[StepLR], **changes: object) -> Plant:
    """Plant by making another schedule; torch's side steps by 2 epochs."""

    def plant(scene: Scene) -> None:
        options: dict[str, Any] = {"step_size": 2, "gamma": 0.5}
        scene.torch_schedule = partial(torch_schedules.StepLR, **options)
        scene.numpy_schedule = partial(kind, **{**options, **changes})
        scene.epoch_steps = 1

    return plant


fault = Ledger("schedule", "schedule", "perceptron", how=instead)
FAULTS = fault.faults


@fault("StepLR one epoch late")
class Late(StepLR):
    def step(self):
        self.last_epoch += 1
        if self.last_epoch > 1 and (self.last_epoch - 1) % self.step_size == 0:
            self.optimizer.lr *= self.gamma


@fault("StepLR one epoch early")
class Early(StepLR):
    def step(self):
        self.last_epoch += 1
        if (self.last_epoch + 1) % self.step_size == 0:
            self.optimizer.lr *= self.gamma


@fault("rate falls at every epoch")
class EveryEpoch(StepLR):
    """Multiplied at every epoch after the first boundary."""

    def step(self):
        self.last_epoch += 1
        if self.last_epoch >= self.step_size:
            self.optimizer.lr *= self.gamma


@fault("rate falls only once")
class Once(StepLR):
    """`==` for `% == 0`: the rate falls a single time."""

    def step(self):
        self.last_epoch += 1
        if self.last_epoch == self.step_size:
            self.optimizer.lr *= self.gamma


@fault("rate falls by another share")
class Subtracting(StepLR):
    def step(self):
        self.last_epoch += 1
        if self.last_epoch % self.step_size == 0:
            self.optimizer.lr -= self.gamma * self.optimizer.lr * 0.9


@fault("rate falls smoothly")
class Smooth(StepLR):
    """The exponent not rounded down: an exponential decay."""

    def step(self):
        self.last_epoch += 1
        self.optimizer.lr *= self.gamma ** (1 / self.step_size)


fault("γ off by 0.1 %", gamma=0.4995)(StepLR)
fault("stepped twice as often", step_size=1)(StepLR)
