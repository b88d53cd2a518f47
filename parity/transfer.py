"""Weight transfer: every parameter and buffer, strict in both directions.

Without ``names=`` both sides have one name, shape and layout for everything; with it, a side is
seen through `Renamed`, and is then like any other. Nothing is ever cast, and anything that does not
match stops the transfer before a single number has moved. Values are copied: no array and tensor
ever share memory afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from parity.names import Arrays, Names, Shape, resolve
from parity.proposals import proposals
from parity.protocol import Network, ParityError, arrays_of, kind_of
from parity.task import place_of
from parity.tolerance import Tensors


def to_numpy(
    torch_module: nn.Module, numpy_network: Network, names: Mapping[Any, Any] | None = None
) -> None:
    """Copy every parameter and buffer of a torch module into a NumPy network, in place.

    Raises:
        ParityError: on a missing or extra name or another shape or dtype, and then nothing is
            copied; or if the network hands out copies of its arrays.
    """
    network = renamed(torch_module, numpy_network, names)
    tensors, _ = _matched(torch_module, network)
    assign(network, {name: tensor.cpu().numpy() for name, tensor in tensors.items()})


def to_torch(
    numpy_network: Network, torch_module: nn.Module, names: Mapping[Any, Any] | None = None
) -> None:
    """Copy every parameter and buffer of a NumPy network into a torch module, in place.

    Raises:
        ParityError: on a missing or extra name or another shape or dtype; nothing is copied.
    """
    tensors, arrays = _matched(torch_module, renamed(torch_module, numpy_network, names))
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(torch.from_numpy(np.array(arrays[name])))


def assign(network: Network, values: Mapping[str, np.ndarray]) -> None:
    """Copy arrays into a network, by its method ``assign`` or into its parameters and buffers.

    Raises:
        ParityError: if the network hands out copies of its arrays.
    """
    if callable(own := getattr(network, "assign", None)):
        own(values)
        return
    arrays = _arrays(network)
    for name, value in values.items():
        arrays[name][...] = value
    held = _arrays(network)
    for name, value in values.items():
        if not np.array_equal(held[name], value, equal_nan=True):
            raise ParityError(
                f"{type(network).__name__} did not keep what was transferred into {name}: "
                "parameters() and buffers() must give the arrays themselves, not copies"
            )


class Renamed:
    """A network seen under torch's names and layouts; all else is the network's own.

    Args:
        wrapped: an object of `parity.protocol.Network` with names of its own.
        names: how they correspond to torch's.
    """

    def __init__(self, wrapped: Network, names: Names) -> None:
        self.wrapped, self._names = wrapped, names
        self._summands: Arrays = {}  # what was assigned, where only a sum is kept

    @property
    def absent(self) -> frozenset[str]:
        """Torch's buffers that the network has none of."""
        return self._names.absent

    def parameters(self) -> Arrays:
        """Return copies of the parameters: what is to reach the network goes through `assign`."""
        arrays = self._names.to_torch(arrays_of(self.wrapped, "parameters"))
        for name, (given, sum_then) in self._summands.items():
            arrays[name] = given if sum_then is None else given + (arrays[name] - sum_then)
        return arrays

    def gradients(self) -> Arrays:
        """Return the gradients."""
        return self._names.gradients(arrays_of(self.wrapped, "gradients"))

    def buffers(self) -> Arrays:
        """Return copies of the buffers."""
        return self._names.to_torch(arrays_of(self.wrapped, "buffers"))

    def states(self, arrays: Mapping[str, Any]) -> Arrays:
        """Return an optimizer's states, named and laid out as parameters, under torch's names."""
        return self._names.gradients(arrays)

    def assign(self, values: Mapping[str, np.ndarray]) -> None:
        """Copy arrays under torch's names into the network."""
        assign(self.wrapped, self._names.to_other(values))
        held = self._names.to_torch(arrays_of(self.wrapped, "parameters"))
        for rule in self._names.rules:
            for name in rule.shapes if rule.adds and rule.shapes.keys() <= values.keys() else ():
                # The first stands for what the sum moves by; the others stay as they were.
                first = name == next(iter(rule.shapes))
                self._summands[name] = values[name].copy(), held[name] if first else None

    def part(self, layer: str, network: Any) -> Any:
        """Return a layer of the network under torch's name for it; itself if the map lacks it.

        What it calls its arrays is found by the arrays' identity, or else by the ends of names.
        """
        if not self._names.concern(layer):
            return network
        whole, local = _arrays(self.wrapped), dict[str, str]()
        for name, array in _arrays(network).items():
            same = [other for other, held in whole.items() if _same(held, array)]
            alike = [other for other in whole if f".{other}".endswith(f".{name}")]
            local |= dict.fromkeys(same or alike, name)
        return _view(network, self._names.part(layer, local))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "wrapped" not in self.__dict__:  # while it is being copied
            raise AttributeError(name)
        value = getattr(self.wrapped, name)
        if name == "layers" and isinstance(value, Mapping):
            return {layer: self.part(layer, member) for layer, member in value.items()}
        return self.part(name, value)


def renamed(module: nn.Module, network: Any, names: Mapping[Any, Any] | None) -> Any:
    """Return a network seen under a module's names and layouts; itself if there is no map.

    Raises:
        ParityError: if the map does not fit the module or the network.
    """
    if not names:
        return network
    resolved = resolve(names, module)
    held = _arrays(network)
    for rule in resolved.rules:
        for name in rule.order.keys() - held:
            raise ParityError(
                f"names= has {' and '.join(rule.shapes)} as {name}, and {type(network).__name__} "
                f"has only {', '.join(held)}"
            )
    return _view(network, resolved)


def unwrapped(network: Any) -> Any:
    """Return a network as it is under its own names."""
    return network.wrapped if isinstance(network, Renamed) else network


def _view(network: Any, names: Names) -> Renamed:
    """Return the network under other names; in messages it keeps the name of its class."""
    return type(type(network).__name__, (Renamed,), {})(network, names)


def _same(a: Any, b: Any) -> bool:
    """Return whether two arrays, or two views made anew at every call, are the same memory."""
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
        return False
    return a.__array_interface__ == b.__array_interface__


def to_array(values: Any) -> Any:
    """Return a tensor's numbers as an array, and anything else as it is.

    Raises:
        ParityError: if NumPy has no such dtype.
    """
    if not isinstance(values, Tensor):
        return values
    try:
        return values.detach().cpu().numpy()
    except TypeError as error:
        raise ParityError(
            f"NumPy cannot hold a tensor of {values.dtype}: give one of torch.float32 or "
            "torch.float64"
        ) from error


def tied(torch_module: nn.Module) -> list[list[str]]:
    """Return the names of each parameter or buffer that has several."""
    groups: dict[int, list[str]] = {}
    for name, tensor in torch_module.state_dict(keep_vars=True).items():
        groups.setdefault(id(tensor), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def comparable(own: Tensors, network: Any) -> Tensors:
    """Return torch's tensors without those that the NumPy side says it has not."""
    absent = {place_of(name) for name in getattr(network, "absent", ())}
    frozen = getattr(network, "frozen", False)
    return {
        place: value
        for place, value in own.items()
        if place not in absent and (not frozen or place[1].startswith(("output", "loss")))
    }


def untied(result: Tensors, module: nn.Module) -> Tensors:
    """Return the tensors with those of tied parameters under the name that torch's have."""
    for first, *others in tied(module):
        for prefix in ("", "gradient of "):
            places = [place_of(name, prefix) for name in (first, *others)]
            shown = [result.pop(place) for place in places if place in result]
            if shown:  # shares of a gradient, or the same thing each time
                same = not prefix or all(np.array_equal(x, shown[0]) for x in shown)
                result[places[0]] = shown[0] if same else np.asarray(np.sum(shown, axis=0))
    return result


def _arrays(network: Network) -> dict[str, np.ndarray]:
    return arrays_of(network, "parameters") | arrays_of(network, "buffers")


def _matched(
    torch_module: nn.Module, network: Network
) -> tuple[dict[str, Tensor], dict[str, np.ndarray]]:
    """Return both sides' parameters and buffers after checking that they correspond."""
    if getattr(network, "frozen", False):
        return {}, {}
    absent = getattr(network, "absent", ())
    state = torch_module.state_dict()
    tensors = {name: tensor for name, tensor in state.items() if name not in absent}
    arrays = _arrays(network)
    for names in tied(torch_module):  # of which one is enough
        if arrays.keys() & names:
            tensors = {n: t for n, t in tensors.items() if n in arrays or n not in names}
    faults = [f"{name} is only in torch" for name in tensors if name not in arrays]
    faults += [f"{name} is only in NumPy" for name in arrays if name not in tensors]
    for name in tensors:
        if name in arrays:
            faults += _difference(name, tensors[name], arrays[name])
    if faults:
        entries = ", ".join(proposals(*_left_over(tensors, arrays)))
        raise ParityError(
            f"torch's {type(torch_module).__name__} and NumPy's {type(network).__name__} "
            f"do not match: {'; '.join(faults)}"
            + (f"; by shape and order it could be names={{{entries}}}" if entries else "")
        )
    return tensors, arrays


def _left_over(
    tensors: Mapping[str, Tensor], arrays: Mapping[str, Any]
) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """Return the shapes of what has no counterpart of its name and shape, on either side."""
    torch = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    other = {name: a.shape for name, a in arrays.items() if isinstance(a, np.ndarray)}

    def left(side: dict[str, Shape], counterpart: dict[str, Shape]) -> dict[str, Shape]:
        return {name: shape for name, shape in side.items() if counterpart.get(name) != shape}

    return left(torch, other), left(other, torch)


def _difference(name: str, tensor: Tensor, array: np.ndarray) -> list[str]:
    if not isinstance(array, np.ndarray):
        return [f"{name} is {kind_of(array)} in NumPy, not an array"]
    shapes = tuple(tensor.shape), array.shape
    if shapes[0] != shapes[1]:
        return [f"{name} has shape {shapes[0]} in torch and {shapes[1]} in NumPy"]
    dtypes = str(tensor.dtype).removeprefix("torch."), array.dtype.name
    if dtypes[0] != dtypes[1]:
        return [f"{name} has dtype {dtypes[0]} in torch and {dtypes[1]} in NumPy"]
    return []
