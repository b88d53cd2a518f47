"""Hold a composed configuration to its types, their limits, and what goes with what."""

from __future__ import annotations

from dataclasses import asdict, fields, is_dataclass
from typing import Any, get_args, get_type_hints

from omegaconf import DictConfig, OmegaConf

from training.config.limits import Limit
from training.config.schema import Config, SGDConfig
from training.config.settings import flatten, restorable
from training.errors import ConfigError, did_you_mean


def check(composed: DictConfig) -> Config:
    """Return the composition as a `Config`, or raise ConfigError: key, value, what it may be."""
    missing = sorted(str(key) for key in OmegaConf.missing_keys(composed))
    if missing:
        raise ConfigError(f"{missing[0]} has no value: set it, as in {missing[0]}=...")
    config, given = OmegaConf.to_object(composed), OmegaConf.to_container(composed)
    assert isinstance(config, Config)
    assert isinstance(given, dict)
    known = flatten(asdict(config))
    for name in sorted(flatten(given).keys() - known):  # what `+key=value` adds and nothing reads
        raise ConfigError(f"there is no setting {name}{did_you_mean(name, known)}")
    _check_limits(config)
    _check_together(config)
    try:
        restorable(asdict(config))
    except ValueError as error:  # the run could not be resumed
        raise ConfigError(str(error)) from error
    return config


def limit_of(kind: Any, name: str) -> Limit | None:
    """Return the limit that a dataclass states for one of its fields."""
    hint = get_type_hints(kind, include_extras=True)[name]
    for part in (hint, *get_args(hint)):  # of `Annotated[...] | None`, too
        for limit in getattr(part, "__metadata__", ()):
            return limit
    return None


def _check_limits(group: Any, prefix: str = "") -> None:
    for field in fields(group):
        value = getattr(group, field.name)
        if is_dataclass(value):
            _check_limits(value, f"{prefix}{field.name}.")
            continue
        limit = limit_of(type(group), field.name)
        if value is not None and limit and (objection := limit(value)):
            raise ConfigError(f"{prefix}{field.name} {objection}")


def _check_together(config: Config) -> None:
    optimizer, trainer, data = config.optimizer, config.trainer, config.data
    if (
        isinstance(optimizer, SGDConfig)
        and optimizer.nesterov
        and (optimizer.momentum == 0 or optimizer.dampening != 0)
    ):
        raise ConfigError("optimizer.nesterov needs a momentum above 0 and dampening=0")
    if trainer.steps_per_epoch and data.sampling != "replacement":
        raise ConfigError("trainer.steps_per_epoch needs data.sampling=replacement")
    if config.backend.name == "numpy" and config.device == "cuda":
        raise ConfigError("device=cuda needs backend=torch: the NumPy twin runs on the CPU")
