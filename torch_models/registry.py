"""Networks by the names of their files, so that a new one needs a file and nothing else."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from pretrained import Weights

_SUPPORT = {"adagrad", "adam", "dropout", "pooling", "registry", "residual"}


def names() -> list[str]:
    """Return the names that `build` knows: this package's modules that hold a network."""
    found = {module.name for module in pkgutil.iter_modules(import_module("torch_models").__path__)}
    return sorted(found - _SUPPORT)


def build(name: str, *, weights: str | Weights | None = None, **arguments: Any) -> nn.Module:
    """Return a new network of ``torch_models/<name>.py``.

    Args:
        name: the file's stem, for example "lenet5_relu".
        weights: "mnist" for the weights that come with the project, or the result of
            ``pretrained.load``; the network is then in evaluation mode, and its attribute
            ``pretrained`` holds them with their preprocessing and record. None: untrained.
        arguments: passed to the network's class.

    Raises:
        ValueError: if there is no such network, its file does not define exactly one
            ``nn.Module``, the class does not take an argument (the accepted ones are listed), or
            there are no such weights.
    """
    if weights is not None:
        from pretrained import chosen

        trained = chosen(name, weights, arguments)
        net = build(name, **(dict(trained.arguments) | arguments))
        net.load_state_dict({key: torch.tensor(a) for key, a in trained.state.items()})
        net.pretrained = trained  # type: ignore[assignment]
        return net.eval()
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
