"""A pair under test, and how the command line finds one: ``package.module:factory``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from parity import departures
from parity.precision import format_of
from parity.protocol import (
    Criterion,
    Network,
    ParityError,
    arrays_of,
    check_network,
    kind_of,
    without_backward,
)
from parity.runs import clone, with_upstream
from parity.task import Setting, Task
from parity.transfer import renamed, to_array
from parity.trees import call_of, mapped, named


@dataclass(frozen=True)
class Pair:
    """A torch module, a NumPy network, and what they are compared on.

    A factory may return one, a tuple of the first three, or a dict with any of these names.

    Attributes:
        torch_module: the trusted side, any module; it may be a single layer.
        numpy_network: the side under test, an object of `parity.protocol.Network` with torch's
            parameter names.
        inputs: (N, …) array, a tuple by position, or a dict by keyword. Floating-point arrays are
            of the NumPy parameters' dtype, float32 or float64; integers and masks are taken as they
            are. Tensors, here and as targets, may be on any device.
        targets: class indices (N,) or values; needed with a loss.
        torch_criterion, numpy_criterion: the loss, mean reduction.
        layers: NumPy layer by torch's attribute name, where the network has neither a mapping
            ``layers`` nor attributes under those names. Each is an object of
            `parity.protocol.Network`, or a layer of `numpy_models`.
        names: torch's names with the NumPy side's names and layouts, where they differ: see
            `parity.names`.
        train: True for training mode only, False for evaluation mode only, None for both.
        seed: seed of the upstream gradient and of the shared dropout masks.
        name: what messages call the pair; the torch class's name by default.
        vary: whether a pair that agrees is also compared on variations of the inputs
            (`parity.variation`).
        expect: deliberate departures from torch, by tensor (`parity.departures`).
        precision: "tf32", "bfloat16", "float16" or "int8" if the side under test computes in lower
            precision than its dtype (`parity.precision`).
    """

    torch_module: nn.Module
    numpy_network: Network
    inputs: Any
    targets: np.ndarray | None = None
    torch_criterion: Callable[[Tensor, Tensor], Tensor] | None = None
    numpy_criterion: Criterion | None = None
    layers: Mapping[str, Any] | None = None
    names: Mapping[Any, Any] | None = None
    train: bool | None = None
    seed: int = 0
    name: str | None = None
    vary: bool = True
    expect: Mapping[str, str] = field(default_factory=dict)
    precision: str | None = None

    def __post_init__(self) -> None:
        inputs = mapped(lambda _, tensor: to_array(tensor), self.inputs, Tensor)
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "targets", to_array(self.targets))

    @classmethod
    def of(cls, *pair: Any, **options: Any) -> Pair:
        """Return a pair, with options changed where it is one already, or made of its arguments."""
        if len(pair) == 1 and isinstance(pair[0], Pair):
            return replace(pair[0], **options)
        return cls(*pair, **options)

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
        dtype = check_inputs(self.inputs, self.numpy_network)
        losses = self.torch_criterion, self.numpy_criterion
        if (losses[0] is None) != (losses[1] is None):
            raise ParityError("a loss is needed on both sides: torch_criterion and numpy_criterion")
        if self.precision:
            format_of(self.precision)
        train = self.modes[0] if train is None else train
        task = Task(self.inputs, None, self.targets, *losses, train, self.seed, self.expect)
        absent, kind = departures.absent(self.expect), self.precision or ""
        task = replace(task, dtype=dtype, constants=absent, format=kind)
        task = replace(task, forward_only=self._forward_only())
        module = clone(self.torch_module, task.precision, train)
        departures.check(module, self.expect)
        name = self.name or type(self.torch_module).__name__
        task = with_upstream(module, task)
        network, layers = renamed(module, self.numpy_network, self.names), self.layers
        if self.names and layers is not None:
            layers = {layer: network.part(layer, member) for layer, member in layers.items()}
        return Setting(name, module, network, task, layers, vary=self.vary)

    def _forward_only(self) -> str:
        if missing := without_backward(self.numpy_network):
            return missing
        arrays = named(call_of(self.inputs), np.ndarray).values()
        if any(array.dtype.kind == "f" for array in arrays):
            return ""
        trained = any(p.requires_grad for p in self.torch_module.parameters())
        return "" if trained else "there is nothing to take a gradient of"


def load_pair(spec: str, arguments: Mapping[str, Any] | None = None) -> Pair:
    """Import a factory, call it with the arguments and return its pair.

    Raises:
        ParityError: if there is no such factory, it fails, or it returns something else.
    """
    factory = load_factory(spec)
    try:
        made = factory(**dict(arguments or {}))
    except ParityError:
        raise
    except Exception as error:
        raise ParityError(f"{spec} raised {type(error).__name__}: {error}") from error
    return as_pair(made, spec)


def as_pair(made: Any, maker: str) -> Pair:
    """Return the pair that a factory's result stands for.

    Raises:
        ParityError: naming the factory, if it is none.
    """
    if isinstance(made, Pair):
        return made
    if isinstance(made, tuple) and len(made) == 3:
        return Pair(*made)
    names = [field.name for field in fields(Pair)]
    if not isinstance(made, dict):
        raise ParityError(
            f"{maker} must return (torch_module, numpy_network, inputs) or a dict, and returned "
            f"{kind_of(made)}" + (f" of {len(made)}" if isinstance(made, tuple) else "")
        )
    unknown = sorted(set(made) - set(names))
    missing = [name for name in names[:3] if name not in made]
    if unknown or missing:
        fault = f"has no {', '.join(missing)}" if missing else f"has unknown {', '.join(unknown)}"
        raise ParityError(f"the dict {maker} returned {fault}; its names are {', '.join(names)}")
    return Pair(**made)


def load_factory(spec: str) -> Callable[..., Any]:
    """Import ``package.module:factory``.

    Raises:
        ParityError: if there is no such function.
    """
    path, _, name = spec.partition(":")
    if not path or not name:
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
        raise ParityError(f"{name} {fault}: {spec} must name a function")
    return factory


def check_inputs(inputs: Any, network: Network) -> np.dtype:
    """Return the dtype to compare in: that of the network and of its floating-point inputs.

    Raises:
        ParityError: unless these are one, float32 or float64, and there is a sample to compare.
    """
    arrays = named(call_of(inputs), np.ndarray)
    floats = {name: array for name, array in arrays.items() if array.dtype.kind not in "iub"}
    wrong = [x.dtype for x in floats.values() if x.dtype not in (np.float32, np.float64)]
    if wrong or not arrays:
        kind = wrong[0] if wrong else kind_of(inputs)
        raise ParityError(f"inputs must be a float32 or float64 array or tensor, not {kind}")
    for name, array in arrays.items():
        if array.size == 0 or (array.ndim == 0 and len(arrays) == 1):
            raise ParityError(
                f"inputs{name} of shape {array.shape} hold no sample: give at least one"
            )
    if floats and not any(np.isfinite(array).any() for array in floats.values()):
        raise ParityError("inputs hold no finite number, so nothing would be compared")
    dtypes = {f"inputs{name}": array.dtype for name, array in floats.items()}
    for name, parameter in arrays_of(network, "parameters").items():
        if isinstance(parameter, np.ndarray) and parameter.dtype.kind == "f":
            dtypes[f"NumPy's {name}"] = parameter.dtype
    if not dtypes:
        return np.dtype(np.float32)
    (first, dtype), *others = dtypes.items()
    for name, found in others:
        if found != dtype:
            verb = "are" if first.startswith("inputs") else "is"
            raise ParityError(
                f"{first} {verb} {dtype} but {name} is {found}: give inputs and network one dtype"
            )
    return dtype
