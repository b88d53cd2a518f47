"""A pair of plain functions and a nest of parameters, as in a course's assignments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


class Functions:
    """Two functions that together are a network or a layer.

    Args:
        forward: ``forward(parameters, *inputs) -> (output, cache)``.
        backward: ``backward(parameters, cache, dy) -> (dx, gradients)``, the gradients nested as
            the parameters are; None to judge forward alone.
        parameters: arrays in dicts and lists; their names are their paths, ``"conv.W"`` or
            ``"layers.0.W"``. Weights are transferred into these arrays.
        buffers: state that the functions themselves update in place, nested likewise.
        layers: single layers by torch's names, so that a culprit can be named: (forward, backward,
            path of their parameters and buffers), without the path where it is torch's name, or
            any other side.

    A function with a parameter ``train`` is told the mode.
    """

    def __init__(
        self,
        forward: Callable[..., tuple[Any, Any]],
        backward: Callable[..., tuple[Any, Any]] | None,
        parameters: Any,
        *,
        buffers: Any = None,
        layers: Mapping[str, Any] | None = None,
    ) -> None:
        self._forward, self._backward = forward, backward
        self.tree, self._buffers = parameters, buffers
        self.gradient_tree: Any = None
        self._cache: Any = None
        told = "train" in inspect.signature(forward).parameters
        self._mode = {"train": True} if told else {}
        if layers is not None:
            self.layers = {name: self._layer(name, layer) for name, layer in layers.items()}

    def _layer(self, name: str, layer: Any) -> Any:
        if not isinstance(layer, tuple):
            return layer
        forward, backward, path = layer if len(layer) == 3 else (*layer, name)
        state = subtree(self._buffers, path)
        return Functions(forward, backward, subtree(self.tree, path), buffers=state)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Return the output and keep the cache."""
        output, self._cache = self._forward(self.tree, *inputs, **named, **self._mode)
        return output

    @property
    def backward(self) -> Callable[[Any], Any] | None:
        """The function from the output's gradient to the input's; None where there is none."""
        return None if self._backward is None else self._run_backward

    def _run_backward(self, dy: Any) -> Any:
        assert self._backward is not None
        dx, self.gradient_tree = self._backward(self.tree, self._cache, dy)
        return dx

    def parameters(self) -> dict[str, np.ndarray]:
        """Return the parameters by path."""
        return self.named(self.tree)

    def gradients(self) -> dict[str, np.ndarray]:
        """Return the last gradients by path."""
        return self.named(self.gradient_tree)

    def buffers(self) -> dict[str, np.ndarray]:
        """Return the buffers by path."""
        return self.named(self._buffers)

    def train(self, mode: bool = True) -> None:
        """Tell the functions and the layers the mode from now on."""
        self._mode = dict.fromkeys(self._mode, mode)
        for layer in getattr(self, "layers", {}).values():
            layer.train(mode)

    def eval(self) -> None:
        """Switch to evaluation mode."""
        self.train(False)

    def named(self, tree: Any) -> dict[str, Any]:
        """Return a nest's arrays by path."""
        return _leaves(tree, "")


class FunctionalOptimizer:
    """An update rule as `parity.steps` steps it, for `Functions` and `JaxFunction`.

    Args:
        side: the network whose parameters are updated.
        update: ``update(gradients, state, parameters) -> (new parameters, new state)``, nests as
            the side has them. With optax: ``updates, state = tx.update(gradients, state,
            parameters)``, then ``optax.apply_updates(parameters, updates), state``.
        state: the state before the first step.
        lr: the learning rate, if it is to be compared with torch's.
    """

    def __init__(
        self, side: Any, update: Callable[[Any, Any, Any], tuple[Any, Any]], state: Any, lr: Any
    ) -> None:
        self._side, self._update, self.state, self.lr = side, update, state, lr

    def step(self) -> None:
        """Update the parameters in place."""
        side = self._side
        new, self.state = self._update(side.gradient_tree, self.state, side.tree)
        values = side.named(new)
        for name, array in side.parameters().items():
            array[...] = values[name]

    def state_dict(self) -> dict[str, Any]:
        """Return the state's leaves by path."""
        return self._side.named(self.state)


def _leaves(tree: Any, path: str) -> dict[str, Any]:
    if tree is None:
        return {}
    if not isinstance(tree, Mapping | list | tuple):
        return {path: tree}
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
    found: dict[str, Any] = {}
    for key, value in items:
        found |= _leaves(value, f"{path}.{key}" if path else str(key))
    return found


def subtree(tree: Any, path: str) -> Any:
    """Return the part of a nest at a path, an empty dict if there is none."""
    for key in path.split("."):
        try:
            tree = tree[key if isinstance(tree, Mapping) else int(key)]
        except (KeyError, IndexError, TypeError, ValueError):
            return {}
    return tree
