"""A pair under test, and how the command line finds one: ``package.module:factory``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from torch import Tensor, nn

from parity.protocol import Criterion, Network, ParityError, check_network, kind_of
from parity.runs import Setting, Task, clone, torch_dtype, with_upstream
from parity.transfer import renamed, to_array


@dataclass(frozen=True)
class Pair:
    """A torch module, a NumPy network, and what they are compared on.

    A factory may return one, a tuple of the first three, or a dict with any of these names.

    Attributes:
        torch_module: the trusted side, any module of one input; it may be a single layer.
        numpy_network: the side under test, an object of `parity.protocol.Network` with torch's
            parameter names.
        inputs: (N, …) array of the NumPy parameters' dtype, float32 or float64. Of a tensor the
            numbers are taken, wherever it lies, and so of targets.
        targets: class indices (N,) or values; needed with a loss.
        torch_criterion: loss on torch's side, mean reduction.
        numpy_criterion: the same loss on NumPy's side.
        layers: NumPy layer by torch's attribute name, where the network has neither a mapping
            ``layers`` nor attributes under those names. Each is an object of
            `parity.protocol.Network`, or a layer of `numpy_models`.
        names: torch's names with the NumPy side's names and layouts, where they differ: see
            `parity.names`.
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
    names: Mapping[Any, Any] | None = None
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

    def setting(self, train: bool | None = None) -> Setting:
        """Return the pair ready to run in a mode, by default its first.

        Raises:
            ParityError: if there is no sample, something is missing, or torch cannot be run.
        """
        if not isinstance(self.torch_module, nn.Module):
            raise ParityError(
                f"torch_module must be a torch.nn.Module, and it is {kind_of(self.torch_module)}"
            )
        check_network(self.numpy_network)
        check_inputs(self.inputs, self.numpy_network)
        losses = self.torch_criterion, self.numpy_criterion
        if (losses[0] is None) != (losses[1] is None):
            raise ParityError("a loss is needed on both sides: torch_criterion and numpy_criterion")
        if losses[0] is not None and self.targets is None:
            raise ParityError("a loss needs targets: pass targets=")
        train = self.modes[0] if train is None else train
        module = clone(self.torch_module, torch_dtype(self.inputs), train)
        task = with_upstream(
            module, Task(self.inputs, None, self.targets, *losses, train, self.seed)
        )
        name = self.name or type(self.torch_module).__name__
        network, layers = renamed(module, self.numpy_network, self.names), self.layers
        if self.names and layers is not None:
            layers = {layer: network.part(layer, member) for layer, member in layers.items()}
        return Setting(name, module, network, task, layers)


def setting_of(
    torch_module: nn.Module,
    numpy_network: Network,
    inputs: np.ndarray | Tensor,
    targets: np.ndarray | Tensor | None = None,
    *,
    train: bool = True,
    **options: Any,
) -> Setting:
    """Return a pair, given by the arguments of `Pair`, ready to run."""
    arrays = to_array(inputs), to_array(targets)
    return Pair(torch_module, numpy_network, *arrays, **options).setting(train)


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


def check_inputs(inputs: np.ndarray, network: Network) -> None:
    """Raise ParityError unless inputs are floats of the network's dtype, of at least one sample."""
    if not isinstance(inputs, np.ndarray) or inputs.dtype not in (np.float32, np.float64):
        kind = inputs.dtype if isinstance(inputs, np.ndarray) else kind_of(inputs)
        raise ParityError(f"inputs must be a float32 or float64 array or tensor, not {kind}")
    if inputs.ndim == 0 or len(inputs) == 0:
        raise ParityError(f"inputs of shape {inputs.shape} hold no sample: give at least one")
    for name, parameter in network.parameters().items():
        if isinstance(parameter, np.ndarray) and parameter.dtype != inputs.dtype:
            raise ParityError(
                f"inputs are {inputs.dtype} but NumPy's {name} is {parameter.dtype}: "
                "give inputs and network one dtype"
            )
