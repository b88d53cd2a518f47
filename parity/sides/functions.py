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
        layers: `Functions` for single layers by torch's names, so that a culprit can be named.

    A function with a parameter ``train`` is told the mode.
    """

    def __init__(
        self,
        forward: Callable[..., tuple[Any, Any]],
        backward: Callable[..., tuple[Any, Any]] | None,
        parameters: Any,
        *,
        buffers: Any = None,
        layers: Mapping[str, Functions] | None = None,
    ) -> None:
        self._forward, self._backward = forward, backward
        self.tree, self._buffers = parameters, buffers
        self.gradient_tree: Any = None
        self._cache: Any = None
        self._mode = {"train": True} if takes_mode(forward) else {}
        if layers is not None:
            self.layers = layers

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

    @staticmethod
    def named(tree: Any, path: str = "") -> dict[str, Any]:
        """Return a nest's arrays by path."""
        if tree is None:
            return {}
        if not isinstance(tree, Mapping | list | tuple):
            return {path: tree}
        items = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
        found: dict[str, Any] = {}
        for key, value in items:
            found |= Functions.named(value, f"{path}.{key}" if path else str(key))
        return found


def takes_mode(function: Callable[..., Any]) -> bool:
    """Return whether a function has a parameter ``train``."""
    return "train" in inspect.signature(function).parameters
