"""Named arrays in a tree, with all parameters in one vector.

A network is a tree: each layer has arrays of its own and inner layers. An array is named by the
path to it from the root, such as ``c1.weight``, as in torch. An optimizer sees the parameters as
one long vector and the gradients as another. They are stored that way, and every layer's arrays are
views of its part::

    flat_parameters  [ c1.weight | c1.bias | c3.weight | c3.bias | ... ]
                     `--- c1, whose own vector ---'
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

Array = np.ndarray
Shape = tuple[int, ...]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class State:
    """Parameters, their gradients, and buffers, of a layer and of all layers inside it.

    ``flat_parameters`` and ``flat_gradients`` are vectors of all parameters and all gradients; the
    arrays that ``parameters()`` and ``gradients()`` return are views of them.
    """

    def __init__(self) -> None:
        self.layers: dict[str, Any] = {}
        self._parameters: dict[str, Array] = {}
        self._gradients: dict[str, Array] = {}
        self._buffers: dict[str, Array] = {}
        self._pack(np.dtype(np.float32))

    def parameters(self) -> dict[str, Array]:
        """Return the live parameters by torch's names, such as ``c1.weight``."""
        return self._named("_parameters")

    def gradients(self) -> dict[str, Array]:
        """Return the live gradients of the last ``backward``, under the parameters' names."""
        return self._named("_gradients")

    def buffers(self) -> dict[str, Array]:
        """Return the live buffers (batch-norm statistics) by torch's names."""
        return self._named("_buffers")

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters and buffers, in torch's order and under torch's keys."""
        live = self._named("_parameters", "_buffers")
        return {name: array.copy() for name, array in live.items()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Copy ``state`` in.

        Raises:
            ValueError: for a missing or extra key, or a shape or dtype that does not match;
                nothing has been changed then.
        """
        live = self._named("_parameters", "_buffers")
        require_same_arrays(state, live, "network")
        for name, array in live.items():
            array[...] = state[name]

    def to(self, dtype: type | np.dtype) -> Self:
        """Convert parameters and statistics to float32 or float64 in place; return the layer.

        Raises:
            ValueError: for any other dtype, or for a layer that is part of another.
        """
        if np.dtype(dtype) not in FLOATS:
            raise ValueError(f"a network is float32 or float64, not {np.dtype(dtype)}")
        if self.is_part:
            raise ValueError(f"{type(self).__name__} is part of a network; convert the network")
        self._pack(np.dtype(dtype))
        return self

    def copy(self) -> Self:
        """Return an independent layer with the same options, parameters and buffers."""
        twin = copy.copy(self)
        twin.layers = {name: layer.copy() for name, layer in self.layers.items()}
        twin._parameters, twin._gradients = dict(self._parameters), {}
        twin._buffers = {name: array.copy() for name, array in self._buffers.items()}
        twin._pack(self.dtype)
        return twin

    def __deepcopy__(self, memo: dict) -> Self:
        return self.copy()

    @property
    def is_part(self) -> bool:
        """Whether this is part of another layer, whose vectors hold its parameters."""
        return self.flat_parameters.base is not None

    def forget(self) -> None:
        """Drop whatever refers to the arrays before they were moved."""

    # Inside

    def _add_parameter(self, name: str, shape: Shape) -> None:
        self._parameters[name] = np.zeros(shape, np.float32)
        self._pack(np.dtype(np.float32))

    def _pack(self, dtype: np.dtype) -> None:
        """Move all parameters into one new vector, all gradients into another."""
        size = sum(array.size for array in self.parameters().values())
        self._bind(np.empty(size, dtype), np.zeros(size, dtype))

    def _bind(self, parameters: Array, gradients: Array) -> None:
        """Move into ``parameters`` and ``gradients``, vectors of this layer's size."""
        self.flat_parameters, self.flat_gradients = parameters, gradients
        self.dtype = parameters.dtype
        self.forget()
        start = 0
        for name, array in self._parameters.items():
            place = slice(start, start + array.size)
            start += array.size
            parameters[place] = array.ravel()
            self._parameters[name] = parameters[place].reshape(array.shape)
            self._gradients[name] = gradients[place].reshape(array.shape)
        for name, array in self._buffers.items():
            if np.issubdtype(array.dtype, np.floating):
                self._buffers[name] = array.astype(self.dtype)
        for layer in self.layers.values():
            place = slice(start, start + layer.flat_parameters.size)
            start = place.stop
            layer._bind(parameters[place], gradients[place])

    def _named(self, *kinds: str) -> dict[str, Array]:
        arrays = {name: array for kind in kinds for name, array in getattr(self, kind).items()}
        for name, layer in self.layers.items():
            inner = layer._named(*kinds).items()
            arrays |= {joined(name, inner_name): array for inner_name, array in inner}
        return arrays


def require_same_arrays(state: Mapping[str, Any], live: Mapping[str, Any], owner: str) -> None:
    """Raise ValueError unless ``state`` has the names, shapes and dtypes of ``live``."""
    missing, extra = sorted(live.keys() - state.keys()), sorted(state.keys() - live.keys())
    if missing or extra:
        raise ValueError(f"state does not fit the {owner}: missing {missing}, extra {extra}")
    for name in live:
        wanted, given = np.asarray(live[name]), np.asarray(state[name])
        if (wanted.shape, wanted.dtype) != (given.shape, given.dtype):
            raise ValueError(
                f"{name}: expected shape {wanted.shape} {wanted.dtype}, got {given.shape} "
                f"{given.dtype}"
            )


def joined(outer: str, inner: str) -> str:
    """Return a dotted name, or the outer one if the inner one is empty."""
    return f"{outer}.{inner}" if inner else outer
