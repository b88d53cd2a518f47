"""The configured optimizer, in a form that a CUDA graph can hold where that is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import torch

import torch_models
from training.config.schema import OptimizerConfig, SchedulerConfig

#: Each takes its configuration's settings by their names.
_OPTIMIZERS: dict[str, Any] = {
    "adam": torch_models.Adam,
    "sgd": torch.optim.SGD,
    "adagrad": torch_models.Adagrad,
}


def state_kinds(config: OptimizerConfig) -> tuple[str, ...]:
    """Return the names of the arrays that the optimizer keeps for each parameter."""
    momentum = ("momentum_buffer",) if getattr(config, "momentum", 0) else ()
    return {"adam": ("exp_avg", "exp_avg_sq"), "adagrad": ("sum",), "sgd": momentum}[config.name]


def make_optimizer(
    parameters: Iterable[Any], config: OptimizerConfig, captured: str | None = None
) -> torch.optim.Optimizer:
    """Build the optimizer of parameters or parameter groups.

    If a device's graphs are to hold the steps, it is given, and the learning rate lives there.
    """
    settings = asdict(config)
    name = settings.pop("name")
    if captured:
        settings["lr"] = torch.tensor(config.lr, device=captured)
    if name == "adam":
        settings |= {"fused": settings["eps_mode"] == "torch", "capturable": bool(captured)}
    if name == "sgd":
        settings["fused"] = True
    return _OPTIMIZERS[name](parameters, **settings)


class Schedule:
    """torch's StepLR as a number on the host, in double precision."""

    def __init__(self, lr: float, config: SchedulerConfig) -> None:
        self.lr, self.epoch, self._config = lr, 0, config

    def step(self) -> None:
        """End an epoch."""
        self.epoch += 1
        if self._config.step_size and self.epoch % self._config.step_size == 0:
            self.lr *= self._config.gamma

    def write(self, group: dict[str, Any]) -> None:
        """Write the rate to where the steps read theirs: a number, or a float32 on the device."""
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(self.lr)
        else:
            group["lr"] = self.lr
