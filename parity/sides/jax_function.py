"""A JAX function and the pytree of its parameters; its gradients come from `jax.vjp`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from parity import trees
from parity.extras import require
from parity.sides.functions import Functions, subtree


class JaxFunction(Functions):
    """A network or layer written in JAX; needs the extra ``jax``.

    Args:
        function: ``function(parameters, *inputs) -> output``; with buffers,
            ``function(parameters, buffers, *inputs) -> (output, new buffers)``.
        parameters: a pytree; a leaf's name is its path, ``"params.Dense_0.kernel"``.
        buffers: a pytree of state such as running statistics.
        layers: single layers by torch's names, so that a culprit can be named: (function, path of
            its parameters and buffers), a function alone where the path is torch's name, or any
            other side.

    Weights are transferred into the NumPy arrays among the leaves, and into copies of JAX's. Where
    a leaf is float64, JAX computes with 64 bits enabled. A function with a parameter ``train`` is
    told the mode, outside of what is traced.

    Raises:
        ParityError: if JAX is not installed.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        parameters: Any,
        *,
        buffers: Any = None,
        layers: Mapping[str, Any] | None = None,
    ) -> None:
        tree, state = _jax().tree.map(_writeable, (parameters, buffers))
        super().__init__(function, None, tree, buffers=state, layers=layers)
        self._output: Any = None

    def _layer(self, name: str, layer: Any) -> Any:
        if hasattr(layer, "forward"):
            return layer
        function, path = layer if isinstance(layer, tuple) else (layer, name)
        state = subtree(self._buffers, path) or None
        return JaxFunction(function, subtree(self.tree, path), buffers=state)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Return the output's arrays and keep what `backward` needs."""
        jax = _jax()
        state = () if self._buffers is None else (self._buffers,)

        def run(tree: Any, inputs: Any, named: Any) -> Any:
            result = self._forward(tree, *state, *inputs, **named, **self._mode)
            return result if state else (result, None)

        with self._bits((self.tree, inputs, named)):
            self._output, self._cache, new = jax.vjp(run, self.tree, inputs, named, has_aux=True)
            if state:
                jax.tree.map(np.copyto, self._buffers, new)
            return jax.tree.map(np.array, self._output)

    @property
    def backward(self) -> Callable[[Any], Any]:
        """The function from the output's gradient to the inputs', None for those of integers."""
        return self._run_backward

    def _run_backward(self, dy: Any) -> Any:
        jax = _jax()
        none = jax.dtypes.float0  # the type of an integer's gradient
        smooth = jax.tree.map(lambda y: y if _floating(y) else None, self._output)
        given, names = trees.named(dy, np.ndarray), trees.named(smooth, jax.Array)

        def upstream(y: Any) -> Any:
            name = next((name for name, leaf in names.items() if leaf is y), None)
            return np.zeros(y.shape, none) if name is None else given[name]

        with self._bits((self.tree, dy)):
            gradients, inputs, named = self._cache(jax.tree.map(upstream, self._output))
            self.gradient_tree = jax.tree.map(np.array, gradients)
        arrays = jax.tree.map(
            lambda dx: None if dx.dtype == none else np.array(dx), (inputs, named)
        )
        return arrays[1] or (arrays[0] if len(arrays[0]) > 1 else arrays[0][0])

    def named(self, tree: Any) -> dict[str, Any]:
        """Return a pytree's leaves by path."""
        util = _jax().tree_util
        leaves, _ = util.tree_flatten_with_path(tree)
        return {util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}

    def _bits(self, values: Any) -> AbstractContextManager[Any]:
        """Let JAX keep float64, which it makes float32 otherwise."""
        dtypes = {getattr(leaf, "dtype", None) for leaf in _jax().tree.leaves(values)}
        if np.dtype(np.float64) not in dtypes:
            return nullcontext()
        if hasattr(_jax(), "enable_x64"):
            return _jax().enable_x64(True)
        return require("jax.experimental", "jax").enable_x64()

    def __deepcopy__(self, memo: dict[int, Any]) -> JaxFunction:
        twin = memo[id(self)] = copy.copy(self)  # functions, compiled ones above all, are shared
        for name in {"tree", "_buffers", "layers"} & vars(self).keys():
            setattr(twin, name, copy.deepcopy(getattr(self, name), memo))
        return twin


def _writeable(leaf: Any) -> np.ndarray:
    writeable = isinstance(leaf, np.ndarray) and leaf.flags.writeable
    return leaf if writeable else np.array(leaf)


def _floating(y: Any) -> bool:
    return bool(_jax().numpy.issubdtype(y.dtype, np.inexact))


def _jax() -> Any:
    return require("jax", "jax")
