"""Networks by name: the file ``numpy_models/<name>.py`` and the one network class in it."""

from __future__ import annotations

import importlib
import inspect
from importlib.util import find_spec
from typing import Any

from numpy_models.sequential import Sequential


def network_class(name: str) -> type[Sequential]:
    """The network class that ``numpy_models/<name>.py`` defines.

    Raises:
        ValueError: if there is no such file, or it does not define exactly one network.
    """
    path = f"numpy_models.{name}"
    if not name.isidentifier() or find_spec(path) is None:
        raise ValueError(f"there is no network {name!r}: numpy_models/{name}.py does not exist")
    module = importlib.import_module(path)
    found = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Sequential) and member.__module__ == path
    ]
    if len(found) != 1 or found[0] is Sequential:
        raise ValueError(f"numpy_models/{name}.py must define exactly one network class")
    return found[0]


def build(name: str, **arguments: Any) -> Sequential:
    """A new network of the class in ``numpy_models/<name>.py``.

    Raises:
        ValueError: if there is no such network, or it does not take these arguments.
    """
    cls = network_class(name)
    accepted = inspect.signature(cls).parameters
    unknown = sorted(set(arguments) - set(accepted))
    if unknown:
        raise ValueError(f"{name} does not take {unknown}; it takes {sorted(accepted)}")
    return cls(**arguments)
