"""What the configuration's types cannot say: choices, ranges, and what goes with what."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from training.config.schema import AdamConfig, Config, SGDConfig, parse_interval
from training.errors import ConfigError, did_you_mean

CHOICES: dict[str, tuple[str, ...]] = {
    "device": ("auto", "cpu", "cuda"),
    "backend.name": ("torch", "numpy"),
    "backend.mode": ("auto", "eager", "graph"),
    "backend.precision": ("float32", "tf32", "bf16"),
    "backend.batch_norm": ("synchronised", "local"),
    "data.name": ("auto", "mnist", "digits"),
    "data.scaling": ("unit", "standard", "raw"),
    "data.sampling": ("shuffle", "replacement"),
    "optimizer.name": ("adam", "sgd", "adagrad"),
    "optimizer.eps_mode": ("torch", "uncorrected", "inside_root"),
    "init.name": ("torch", "he", "xavier", "normal"),
    "logger.name": ("csv", "tensorboard"),
    "study.form": ("table", "curves", "evaluations"),
    "study.column": ("train_loss", "train_accuracy", "test_loss", "test_accuracy"),
}

#: What a setting of several values must be.
SEVERAL = {"optimizer.betas": "two numbers, each at least 0 and below 1"}

_SYNONYMS = {"gpu": "cuda", "pytorch": "torch"}

# key: (least, greatest, whether the least value itself is allowed)
_RANGES: dict[str, tuple[float, float, bool]] = {
    "seed": (0, 2**63 - 1, True),
    "model.image_size": (1, 128, True),
    "backend.threads": (1, 1024, True),
    "data.flip": (0, 1, True),
    "init.linear_std": (0, math.inf, False),
    "optimizer.lr": (0, math.inf, False),
    "optimizer.weight_decay": (0, math.inf, True),
    "optimizer.eps": (0, math.inf, True),
    "optimizer.momentum": (0, math.inf, True),
    "optimizer.dampening": (0, math.inf, True),
    "optimizer.lr_decay": (0, math.inf, True),
    "optimizer.initial_accumulator_value": (0, math.inf, True),
    "scheduler.step_size": (1, math.inf, True),
    "scheduler.gamma": (0, math.inf, False),
    "trainer.epochs": (1, math.inf, True),
    "trainer.batch_size": (1, math.inf, True),
    "trainer.steps_per_epoch": (1, math.inf, True),
    "trainer.log_every": (1, math.inf, True),
    "trainer.evaluation_samples": (0, math.inf, True),
}


def check(config: DictConfig) -> Config:
    """Return the composed configuration as a `Config`, every value inside its range.

    Raises:
        ConfigError: with the key, its value, and what it may be.
    """
    missing = sorted(str(key) for key in OmegaConf.missing_keys(config))
    if missing:
        raise ConfigError(f"{missing[0]} has no value: set it, as in {missing[0]}=...")
    _check_names(config)
    for key, choices in CHOICES.items():
        value = OmegaConf.select(config, key)
        if value is not None and value not in choices:
            hint = did_you_mean(_SYNONYMS.get(value, str(value)), choices)
            raise ConfigError(f"{key} must be one of {', '.join(choices)}, not {value!r}{hint}")
    for key, (least, greatest, closed) in _RANGES.items():
        _check_range(key, OmegaConf.select(config, key), least, greatest, closed)
    typed = OmegaConf.to_object(config)
    assert isinstance(typed, Config)
    parse_interval(typed.trainer.checkpoint_every)
    if isinstance(typed.optimizer, AdamConfig):
        betas = list(typed.optimizer.betas)
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ConfigError(f"optimizer.betas must be {SEVERAL['optimizer.betas']}, not {betas}")
    if isinstance(typed.optimizer, SGDConfig):
        plain = typed.optimizer.momentum == 0 or typed.optimizer.dampening != 0
        if typed.optimizer.nesterov and plain:
            raise ConfigError(
                "optimizer.nesterov needs optimizer.momentum above 0 and optimizer.dampening=0"
            )
    if typed.trainer.steps_per_epoch and typed.data.sampling != "replacement":
        raise ConfigError(
            "trainer.steps_per_epoch needs data.sampling=replacement: with "
            f"data.sampling={typed.data.sampling} an epoch is one pass over the images"
        )
    if typed.backend.name == "numpy" and typed.device == "cuda":
        raise ConfigError(
            "device=cuda needs backend=torch: the NumPy twin runs on the CPU (device=cpu)"
        )
    return typed


def _check_names(config: DictConfig) -> None:
    """Refuse what `+key=value` adds and nothing reads."""
    settings = dict(_settings(config))
    known = [name for name, declared in settings.items() if declared]
    for name in sorted(settings.keys() - set(known)):
        raise ConfigError(f"there is no setting {name}{did_you_mean(name, known)}")


def _settings(config: DictConfig, prefix: str = "") -> Iterator[tuple[str, bool]]:
    """Yield the dotted name of each setting, and whether its group's type has it.

    A group that is a plain mapping, as a network's arguments are, has any.
    """
    kind = OmegaConf.get_type(config)
    declared = {field.name for field in fields(kind)} if is_dataclass(kind) else None
    for key, value in config.items():
        name, known = f"{prefix}{key!s}", declared is None or key in declared
        if known and isinstance(value, DictConfig):
            yield from _settings(value, f"{name}.")
        else:
            yield name, known


def _check_range(key: str, value: Any, least: float, greatest: float, closed: bool) -> None:
    if value is None:
        return
    inside = least <= value <= greatest if closed else least < value <= greatest
    if not inside or not math.isfinite(value):
        wanted = f"at least {least}" if closed else f"above {least}"
        if math.isfinite(greatest):
            wanted = f"{wanted} and at most {greatest}"
        elif not math.isfinite(value):
            wanted = f"a finite number {wanted}"
        raise ConfigError(f"{key} must be {wanted}, not {value}")
