"""Find a network by the name of its file, so that a new one needs a file and nothing else."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from typing import Any

from torch import nn

_SUPPORT = {"adagrad", "adam", "dropout", "pooling", "registry", "residual"}


def names() -> list[str]:
    """Return the names that `build` knows: this package's modules that hold a network."""
    found = {module.name for module in pkgutil.iter_modules(import_module("torch_models").__path__)}
    return sorted(found - _SUPPORT)


def build(name: str, **arguments: Any) -> nn.Module:
    """Return a new network of ``torch_models/<name>.py``.

    Args:
        name: the file's stem, for example "lenet5_relu".
        arguments: passed to the network's class.

    Raises:
        ValueError: if there is no such network, its file does not define exactly one
            ``nn.Module``, or the class does not take an argument (the accepted ones are listed).
    """
    network = network_class(name)
    accepted = inspect.signature(network).parameters
    unknown = [argument for argument in arguments if argument not in accepted]
    if unknown:
        raise ValueError(
            f"torch_models.{name} takes no argument {', '.join(unknown)}: "
            f"it accepts {', '.join(accepted) or 'none'}"
        )
    return network(**arguments)


def network_class(name: str) -> type[nn.Module]:
    """Return the network's class that ``torch_models/<name>.py`` defines.

    Raises:
        ValueError: if there is no such file, or it does not define exactly one ``nn.Module``.
    """
    if name not in names():
        raise ValueError(f"no network named {name!r} in torch_models: choose {', '.join(names())}")
    module = import_module(f"torch_models.{name}")
    classes = [
        member
        for member in vars(module).values()
        if inspect.isclass(member)
        and issubclass(member, nn.Module)
        and member.__module__ == module.__name__
        and not member.__name__.startswith("_")
    ]
    if len(classes) != 1:
        found = ", ".join(c.__name__ for c in classes) or "none"
        raise ValueError(f"torch_models/{name}.py must define one public nn.Module, found {found}")
    return classes[0]
