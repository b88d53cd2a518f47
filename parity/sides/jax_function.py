"""A JAX function and the pytree of its parameters; its gradients come from `jax.vjp`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from parity import trees
from parity.extras import require
from parity.sides.functions import takes_mode


class JaxFunction:
    """A network or layer written in JAX; needs the extra ``jax``.

    Args:
        function: ``function(parameters, *inputs) -> output``; with buffers,
            ``function(parameters, buffers, *inputs) -> (output, new buffers)``.
        parameters: a pytree; a leaf's name is its path, ``"params.Dense_0.kernel"``.
        buffers: a pytree of state such as running statistics.
        layers: `JaxFunction` for single layers by torch's names, so that a culprit can be named.

    The numbers are copied: transferred weights do not reach the caller's arrays. Where one of them
    is float64, JAX computes with 64 bits enabled. A function with a parameter ``train`` is told the
    mode, outside of what is traced.

    Raises:
        ParityError: if JAX is not installed.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        parameters: Any,
        *,
        buffers: Any = None,
        layers: Mapping[str, JaxFunction] | None = None,
    ) -> None:
        self._function = function
        self.tree = _jax().tree.map(np.array, parameters)
        self._buffers = _jax().tree.map(np.array, buffers)
        self.gradient_tree: Any = None
        self._vjp: Any = None
        self._output: Any = None
        self._mode = {"train": True} if takes_mode(function) else {}
        if layers is not None:
            self.layers = layers

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Return the output's arrays and keep what `backward` needs."""
        jax = _jax()
        state = () if self._buffers is None else (self._buffers,)

        def run(tree: Any, inputs: Any, named: Any) -> Any:
            result = self._function(tree, *state, *inputs, **named, **self._mode)
            return result if state else (result, None)

        with self._bits((self.tree, inputs, named)):
            self._output, self._vjp, new = jax.vjp(run, self.tree, inputs, named, has_aux=True)
            if state:
                self._write(self._buffers, new)
            return jax.tree.map(np.array, self._output)

    def backward(self, dy: Any) -> Any:
        """Return the gradient of the inputs, None for those that are no floats."""
        jax = _jax()
        none = jax.dtypes.float0  # the type of an integer's gradient
        smooth = jax.tree.map(lambda y: y if _floating(y) else None, self._output)
        given, names = trees.named(dy, np.ndarray), trees.named(smooth, jax.Array)

        def upstream(y: Any) -> Any:
            name = next((name for name, leaf in names.items() if leaf is y), None)
            return np.zeros(y.shape, none) if name is None else given[name]

        with self._bits((self.tree, dy)):
            gradients, inputs, named = self._vjp(jax.tree.map(upstream, self._output))
            self.gradient_tree = jax.tree.map(np.array, gradients)
        arrays = jax.tree.map(
            lambda dx: None if dx.dtype == none else np.array(dx), (inputs, named)
        )
        return arrays[1] or (arrays[0] if len(arrays[0]) > 1 else arrays[0][0])

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
        """Tell the function and the layers the mode from now on."""
        self._mode = dict.fromkeys(self._mode, mode)
        for layer in getattr(self, "layers", {}).values():
            layer.train(mode)

    def eval(self) -> None:
        """Switch to evaluation mode."""
        self.train(False)

    def named(self, tree: Any) -> dict[str, Any]:
        """Return a pytree's leaves by path."""
        util = _jax().tree_util
        leaves, _ = util.tree_flatten_with_path(tree)
        return {util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}

    def _write(self, tree: Any, values: Any) -> None:
        for array, value in zip(*map(_jax().tree.leaves, (tree, values)), strict=True):
            array[...] = value

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


def _floating(y: Any) -> bool:
    return bool(_jax().numpy.issubdtype(y.dtype, np.inexact))


def _jax() -> Any:
    return require("jax", "jax")
