"""The configured optimizer, in a form that a CUDA graph can hold where that is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.optim.lr_scheduler import StepLR

import torch_models
from training.config.schema import (
    AdagradConfig,
    AdamConfig,
    OptimizerConfig,
    SchedulerConfig,
    SGDConfig,
)
from training.errors import ConfigError

_STATE_KINDS: dict[str, tuple[str, ...]] = {
    "adam": ("exp_avg", "exp_avg_sq"),
    "adagrad": ("sum",),
    "sgd": ("momentum_buffer",),
}


def state_kinds(config: OptimizerConfig) -> tuple[str, ...]:
    """Return the names of the arrays that the optimizer keeps for each parameter."""
    if isinstance(config, SGDConfig) and not config.momentum:
        return ()
    return _STATE_KINDS[config.name]


def make_optimizer(
    parameters: Iterable[Any], config: OptimizerConfig, captured: str | None = None
) -> torch.optim.Optimizer:
    """Build the optimizer.

    Args:
        parameters: parameters or parameter groups.
        config: its name and settings.
        captured: the device whose graphs are to hold the steps, with a learning rate that lives
            there, or None for steps that are called one by one.
    """
    lr = config.lr if captured is None else torch.tensor(config.lr, device=captured)
    common: dict[str, Any] = {"lr": lr, "weight_decay": config.weight_decay}
    match config:
        case AdamConfig():
            return torch_models.Adam(
                parameters,
                betas=(config.betas[0], config.betas[1]),
                eps=config.eps,
                eps_mode=config.eps_mode,  # type: ignore[arg-type]
                fused=config.eps_mode == "torch",
                capturable=captured is not None,
                **common,
            )
        case SGDConfig():
            return torch.optim.SGD(
                parameters,
                momentum=config.momentum,
                dampening=config.dampening,
                nesterov=config.nesterov,
                fused=True,
                **common,
            )
        case AdagradConfig():
            return torch_models.Adagrad(
                parameters,
                lr_decay=config.lr_decay,
                initial_accumulator_value=config.initial_accumulator_value,
                eps=config.eps,
                **common,
            )
    raise ConfigError(f"the torch backend has no optimizer {config.name}")


class Schedule:
    """torch's StepLR, kept on the host in double precision.

    Its rate is written to where the steps read theirs: a number, or a float32 on the device.

    Attributes:
        epoch: how many have ended.
    """

    def __init__(self, lr: float, config: SchedulerConfig) -> None:
        self._rate = torch.optim.SGD([torch.zeros(())], lr)
        self._scheduler = None
        if config.step_size:
            self._scheduler = StepLR(self._rate, config.step_size, config.gamma)
        self.load(0, lr)

    @property
    def lr(self) -> float:
        """Return the current learning rate."""
        return float(self._rate.param_groups[0]["lr"])

    def step(self) -> None:
        """End an epoch."""
        self.epoch += 1
        if self._scheduler:
            self._scheduler.step()

    def load(self, epoch: int, lr: float) -> None:
        """Go on after so many epochs, at this rate."""
        self.epoch = epoch
        self._rate.param_groups[0]["lr"] = lr
        if self._scheduler:
            # torch counts schedule steps to warn of one before the first optimizer step; this
            # optimizer takes none.
            schedule = {"last_epoch": epoch, "_last_lr": [lr], "_step_count": 2 + epoch}
            self._scheduler.load_state_dict(self._scheduler.state_dict() | schedule)

    def write(self, group: dict[str, Any]) -> None:
        """Write the rate to an optimizer's group of parameters."""
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(self.lr)
        else:
            group["lr"] = self.lr
