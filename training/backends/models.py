"""Build a configured network on either side, and explain what is wrong with its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from training.config.schema import ModelConfig
from training.errors import ConfigError, did_you_mean, first_line

Network = TypeVar("Network")

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def build_network(build: Callable[..., Network], package: str, config: ModelConfig) -> Network:
    """Return `build(config.name, **config.arguments)` of torch_models or numpy_models.

    Raises ConfigError if there is no such network or it does not take an argument or its value.
    """
    try:
        network = import_module(f"{package}.registry").network_class(config.name)
        check_arguments(network, config)
        return build(config.name, **config.arguments)
    except ConfigError:
        raise
    except (MemoryError, RuntimeError) as error:
        words = f"model {config.name} cannot be built with {config.arguments}"
        raise ConfigError(f"{words}: {first_line(error)}") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"model {config.name}: {error}") from error


def check_arguments(network: type, config: ModelConfig) -> None:
    """Refuse, by ConfigError, what the signature of the network's class does not take."""
    accepted = list(inspect.signature(network).parameters)
    try:
        kinds = get_type_hints(network.__init__)  # type: ignore[misc]
    except NameError:  # a name that is there for type checkers alone
        kinds = {}
    for name, value in config.arguments.items():
        if name not in accepted:
            words = f"{config.name} accepts {', '.join(accepted) or 'none'}"
            raise ConfigError(f"model.arguments.{name}: {words}{did_you_mean(name, accepted)}")
        kind = kinds.get(name, Any)
        if not _fits(value, kind):
            choices = [str(choice) for choice in get_args(kind)]
            words = f"must be {_wanted(kind)}, not {value!r}{did_you_mean(str(value), choices)}"
            raise ConfigError(f"model.arguments.{name} {words}")


def _fits(value: Any, kind: Any) -> bool:
    """Return whether a setting can be passed for an annotation; of others than these, any can."""
    if get_origin(kind) is Literal:
        return any(type(value) is type(choice) and value == choice for choice in get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        return any(_fits(value, part) for part in get_args(kind))
    if kind is float:
        return type(value) in (int, float)
    if kind in _WORDS or kind is NoneType:
        return type(value) is kind
    return True


def _wanted(kind: Any) -> str:
    """Return in words what an annotation takes."""
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(_wanted, get_args(kind)))
    return "null" if kind is NoneType else _WORDS[kind]
