"""Mistakes in the learning-rate schedule."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch.optim import lr_scheduler as torch_schedules

from numpy_models import StepLR
from parity.faults.record import Fault, Plant, Scene


def instead(kind: type[StepLR], **changes: object) -> Plant:
    """Plant by making another schedule; torch's side steps by 2 epochs."""

    def plant(scene: Scene) -> None:
        options: dict[str, Any] = {"step_size": 2, "gamma": 0.5}
        scene.torch_schedule = partial(torch_schedules.StepLR, **options)
        scene.numpy_schedule = partial(kind, **{**options, **changes})
        scene.epoch_steps = 1

    return plant


class Late(StepLR):
    def step(self):
        self.last_epoch += 1
        if self.last_epoch > 1 and (self.last_epoch - 1) % self.step_size == 0:
            self.optimizer.lr *= self.gamma


class Early(StepLR):
    def step(self):
        self.last_epoch += 1
        if (self.last_epoch + 1) % self.step_size == 0:
            self.optimizer.lr *= self.gamma


class EveryEpoch(StepLR):
    """Multiplied at every epoch after the first boundary."""

    def step(self):
        self.last_epoch += 1
        if self.last_epoch >= self.step_size:
            self.optimizer.lr *= self.gamma


class Once(StepLR):
    """`==` for `% == 0`: the rate falls a single time."""

    def step(self):
        self.last_epoch += 1
        if self.last_epoch == self.step_size:
            self.optimizer.lr *= self.gamma


class Subtracting(StepLR):
    def step(self):
        self.last_epoch += 1
        if self.last_epoch % self.step_size == 0:
            self.optimizer.lr -= self.gamma * self.optimizer.lr * 0.9


class Smooth(StepLR):
    """The exponent not rounded down: an exponential decay."""

    def step(self):
        self.last_epoch += 1
        self.optimizer.lr *= self.gamma ** (1 / self.step_size)


def _fault(name: str, kind: type[StepLR], **changes: object) -> Fault:
    return Fault(name, "schedule", "schedule", "perceptron", instead(kind, **changes))


FAULTS = [
    _fault("StepLR one epoch late", Late),
    _fault("StepLR one epoch early", Early),
    _fault("rate falls at every epoch", EveryEpoch),
    _fault("rate falls only once", Once),
    _fault("rate falls by another share", Subtracting),
    _fault("rate falls smoothly", Smooth),
    _fault("γ off by 0.1 %", StepLR, gamma=0.4995),
    _fault("stepped twice as often", StepLR, step_size=1),
]
