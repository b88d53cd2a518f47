"""A pair under test, and how the command line finds one: ``package.module:factory``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from torch import Tensor, nn

from parity.protocol import Criterion, Network, ParityError, kind_of
from parity.transfer import to_array


@dataclass(frozen=True)
class Pair:
    """What a factory returns: a tuple of the first three, or a dict with any of these names.

    Attributes:
        torch_module: the trusted side.
        numpy_network: the side under test, an object of `parity.protocol.Network`.
        inputs: (N, …) float32 or float64 array; a tensor is turned into one, and so are targets.
        targets: what the loss is held against; needed with a loss.
        torch_criterion: loss on torch's side, mean reduction.
        numpy_criterion: the same loss on NumPy's side.
        layers: NumPy layer by torch's attribute name, where the network has neither a mapping
            ``layers`` nor attributes under those names.
        train: True for training mode only, False for evaluation mode only, None for both.
        seed: seed of the upstream gradient and of the shared dropout masks.
        name: what messages call the pair; the torch class's name by default.
    """

    torch_module: nn.Module
    numpy_network: Network
    inputs: np.ndarray
    targets: np.ndarray | None = None
    torch_criterion: Callable[[Tensor, Tensor], Tensor] | None = None
    numpy_criterion: Criterion | None = None
    layers: Mapping[str, Any] | None = None
    train: bool | None = None
    seed: int = 0
    name: str | None = None

    def __post_init__(self) -> None:
        for name in ("inputs", "targets"):
            object.__setattr__(self, name, to_array(getattr(self, name)))

    @property
    def modes(self) -> list[bool]:
        """The modes to run in, training first."""
        return [True, False] if self.train is None else [self.train]

    def options(self, train: bool) -> dict[str, Any]:
        """Return the keyword arguments of `parity.assert_parity` for one mode."""
        names = ("targets", "torch_criterion", "numpy_criterion", "layers", "seed", "name")
        return {name: getattr(self, name) for name in names} | {"train": train}


def load_pair(spec: str, arguments: Mapping[str, Any] | None = None) -> Pair:
    """Import a factory, call it with the arguments and return its pair.

    Raises:
        ParityError: if there is no such factory, it fails, or it returns something else.
    """
    factory = _factory(spec)
    try:
        made = factory(**dict(arguments or {}))
    except ParityError:
        raise
    except Exception as error:
        raise ParityError(f"{spec} raised {type(error).__name__}: {error}") from error
    if isinstance(made, Pair):
        return made
    if isinstance(made, tuple) and len(made) == 3:
        return Pair(*made)
    names = [field.name for field in fields(Pair)]
    if not isinstance(made, dict):
        raise ParityError(
            f"{spec} must return (torch_module, numpy_network, inputs) or a dict, and returned "
            f"{kind_of(made)}" + (f" of {len(made)}" if isinstance(made, tuple) else "")
        )
    unknown = sorted(set(made) - set(names))
    missing = [name for name in names[:3] if name not in made]
    if unknown or missing:
        fault = f"has no {', '.join(missing)}" if missing else f"has unknown {', '.join(unknown)}"
        raise ParityError(f"the dict {spec} returned {fault}; its names are {', '.join(names)}")
    return Pair(**made)


def _factory(spec: str) -> Callable[..., Any]:
    path, separator, name = spec.partition(":")
    if not separator or not path or not name:
        raise ParityError(f"{spec!r} names no factory: write package.module:factory")
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        raise ParityError(
            f"cannot import {path}: there is no module {error.name}; run from the folder that "
            "holds it, or set PYTHONPATH"
        ) from error
    except Exception as error:
        raise ParityError(f"importing {path} raised {type(error).__name__}: {error}") from error
    factory = getattr(module, name, None)
    if not callable(factory):
        fault = "is not callable" if hasattr(module, name) else f"is not in {path}"
        raise ParityError(f"{name} {fault}: {spec} must name a function that returns a pair")
    return factory
