"""Build a configured network on either side, and explain what is wrong with its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from training.config import ModelConfig
from training.errors import ConfigError, did_you_mean

Network = TypeVar("Network")


def build_network(build: Callable[..., Network], package: str, config: ModelConfig) -> Network:
    """Return `build(config.name, **config.arguments)` of torch_models or numpy_models.

    Raises:
        ConfigError: if there is no such network or it does not take an argument or its value.
    """
    try:
        return build(config.name, **config.arguments)
    except (MemoryError, RuntimeError) as error:
        raise ConfigError(
            f"model {config.name} cannot be built with {config.arguments}: "
            f"{str(error).partition(chr(10))[0]}"
        ) from error
    except (ValueError, TypeError) as error:
        accepted = _accepted(package, config.name)
        for argument in config.arguments:
            if accepted is not None and argument not in accepted:
                choices = ", ".join(accepted) or "none"
                raise ConfigError(
                    f"model.arguments.{argument}: {config.name} accepts {choices}"
                    f"{did_you_mean(argument, accepted)}"
                ) from error
        raise ConfigError(f"model {config.name}: {error}") from error


def _accepted(package: str, name: str) -> list[str] | None:
    """Return the arguments of the network's class; None if its file or class is not there."""
    try:
        module: Any = import_module(f"{package}.{name}")
    except ImportError:
        return None
    for member in vars(module).values():
        if inspect.isclass(member) and member.__module__ == module.__name__:
            return list(inspect.signature(member).parameters)
    return None
