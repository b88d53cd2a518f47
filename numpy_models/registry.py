"""Networks by name: the file ``numpy_models/<name>.py`` and the one network class in it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from numpy_models.residual import Residual
from numpy_models.sequential import Sequential

if TYPE_CHECKING:
    from pretrained import Weights


def network_class(name: str) -> type[Sequential]:
    """Return the network class that ``numpy_models/<name>.py`` defines.

    Raises:
        ValueError: if there is no such file, or it does not define exactly one network.
    """
    path = f"numpy_models.{name}"
    if not name.isidentifier() or find_spec(path) is None:
        raise ValueError(f"no network named {name!r} in numpy_models: choose {', '.join(names())}")
    found = _networks_in(path)
    if len(found) != 1:
        raise ValueError(f"numpy_models/{name}.py must define exactly one network class")
    return found[0]


def names() -> list[str]:
    """Return the names :func:`build` knows: this package's modules that define one network."""
    package = importlib.import_module("numpy_models")
    stems = [module.name for module in pkgutil.iter_modules(package.__path__)]
    return sorted(stem for stem in stems if len(_networks_in(f"numpy_models.{stem}")) == 1)


def _networks_in(path: str) -> list[type[Sequential]]:
    classes = inspect.getmembers(importlib.import_module(path), inspect.isclass)
    own = [cls for _, cls in classes if cls.__module__ == path and issubclass(cls, Sequential)]
    return [cls for cls in own if cls not in (Sequential, Residual)]


def build(name: str, *, weights: str | Weights | None = None, **arguments: Any) -> Sequential:
    """Return a new network of the class in ``numpy_models/<name>.py``.

    Args:
        name: the file's stem, for example "lenet5_relu".
        weights: "mnist" for the weights that come with the project, or the result of
            ``pretrained.load``; the network is then in evaluation mode, and its attribute
            ``pretrained`` holds them with their preprocessing and record. None: all parameters
            are zero.
        arguments: passed to the network's class.

    Raises:
        ValueError: if the network or the weights do not exist, or it does not take these arguments.
    """
    if weights is not None:
        from pretrained import chosen

        trained = chosen(name, weights, arguments)
        net = build(name, **(dict(trained.arguments) | arguments))
        net.load_state_dict(trained.state)
        net.eval()
        net.pretrained = trained  # type: ignore[attr-defined]
        return net
    cls = network_class(name)
    accepted = inspect.signature(cls).parameters
    unknown = sorted(set(arguments) - set(accepted))
    if unknown:
        raise ValueError(f"{name} does not take {unknown}; it takes {sorted(accepted)}")
    return cls(**arguments)
