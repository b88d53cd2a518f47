"""The contract every NumPy layer keeps, stated once.

Inside a network the batch is the *last* axis: images are ``(H, C, W, N)`` and features ``(F, N)``,
so a window of rows is one contiguous block and element-wise work runs along the batch. The public
``(N, C, H, W)`` / ``(N, F)`` arrays appear only at the face of :class:`numpy_models.Sequential`.

* ``forward(x)`` returns the output, never changes ``x`` and remembers in ``self._saved`` whatever
  ``backward`` will need: that one attribute, and nothing else, ties the two calls together.
* ``backward(dy)`` returns the gradient with respect to ``x``. It *overwrites* ``self.gradients``
  (no accumulation) and changes neither ``dy`` nor the parameters.
* Returned arrays are work memory (:mod:`numpy_models.workspace`): the next layer reads them at
  once. A layer that needs its input again in ``backward`` says so with ``saves_input``; then the
  layer before it keeps its output.
* ``parameters``, ``gradients`` and ``buffers`` are dictionaries keyed by torch's names, with
  torch's shapes and memory layouts (OIHW convolution kernels, ``(out, in)`` matrices).
* A batch may be split into shards, each on a replica of the layer. A layer whose result depends on
  the whole batch says so with ``synchronises``: it then hands its part to ``exchange`` and receives
  every shard's, in their order, and changes ``buffers`` only where it is ``primary``.
* A layer that needs random numbers in training returns them from ``draw_uniforms``, for the whole
  batch, and finds its shard's part in ``uniforms``: no mask depends on how a batch is split.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from numpy_models.workspace import Array, Shape, Workspace


class Layer:
    """Base of all layers: named arrays, work buffers and the forward/backward pairing."""

    #: Whether ``forward`` or ``backward`` calls ``exchange``.
    synchronises = False
    #: Whether ``backward`` reads ``forward``'s input again.
    saves_input = False

    def __init__(self) -> None:
        self.parameters: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}
        self.buffers: dict[str, Array] = {}
        self.training = True
        self.owned = False
        self.keeps_output = True
        self.workspace = Workspace()
        self.primary = True
        self.exchange: Callable[[tuple], list[tuple]] = _alone
        #: Random numbers for the next training ``forward``, batch last.
        self.uniforms: Array | None = None
        self._saved: Any = None
        self._kept_arrays: dict[str, Array] = {}

    def output_shape(self, shape: Shape) -> Shape:
        """Return one sample's output shape, in public order, for one sample of shape ``shape``.

        Raises:
            ValueError: if the layer cannot take such an input.
        """
        return shape

    def forward(self, x: Array) -> Array:
        """Return the output for ``x``; batch last."""
        raise NotImplementedError

    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        """Return the loss's gradient with respect to the last ``forward``'s input; batch last.

        With ``input_gradient=False`` only the parameters' gradients are computed and the result
        is None: the first layer of a network in training has nobody to hand its gradient to.
        """
        raise NotImplementedError

    def draw_uniforms(self, shape: Shape) -> Array | None:
        """Return the random numbers of a training batch, batch first; None if it needs none.

        Args:
            shape: public shape of the layer's output for the whole batch, (N, ...).
        """
        return None

    def reset_parameters(self, rng: np.random.Generator) -> None:
        """Draw new parameters from torch's default distribution for this layer."""

    def describe(self) -> str:
        """Return constructor-like text for tables and error messages."""
        return f"{type(self).__name__}()"

    def copy(self) -> Self:
        """Return an independent layer with the same options, parameters and buffers."""
        twin = copy.copy(self)
        twin.parameters = {name: array.copy() for name, array in self.parameters.items()}
        twin.gradients = {name: array.copy() for name, array in self.gradients.items()}
        twin.buffers = {name: array.copy() for name, array in self.buffers.items()}
        twin.owned, twin.workspace = False, Workspace()
        twin.primary, twin.exchange, twin.uniforms = True, _alone, None
        twin.forget()
        return twin

    def replica(self, gradients: dict[str, Array]) -> Self:
        """Return a layer that shares parameters and buffers but has its own gradients and memory.

        One replica works on one shard of the batch.
        """
        twin = copy.copy(self)
        twin.gradients = gradients
        twin.forget()
        return twin

    def forget(self) -> None:
        """Drop what the last ``forward`` saved."""
        self._saved, self._kept_arrays = None, {}

    def _add_parameter(self, name: str, shape: Shape) -> None:
        self.parameters[name] = np.zeros(shape, np.float32)
        self.gradients[name] = np.zeros(shape, np.float32)

    def _kept(self, name: str, shape: Shape, dtype: np.dtype | type) -> Array:
        """An array of this layer's own, kept until its next ``forward``."""
        held = self._kept_arrays.get(name)
        if held is None or held.shape != shape or held.dtype != dtype:
            held = self._kept_arrays[name] = np.empty(shape, dtype)
        return held

    def _scratch(self, name: str, shape: Shape, dtype: np.dtype | type) -> Array:
        """An array for the current call alone."""
        return self.workspace.scratch(name, shape, dtype)

    def _output(self, x: Array, shape: Shape) -> Array:
        """Memory for the output computed from ``x``."""
        if self.keeps_output:
            return self._kept("output", shape, x.dtype)
        return self.workspace.beside(x, shape, x.dtype)

    def _gradient(self, dy: Array, shape: Shape) -> Array:
        """Memory for the input's gradient computed from ``dy``."""
        return self.workspace.beside(dy, shape, dy.dtype)

    def _recall(self) -> Any:
        if self._saved is None:
            raise RuntimeError(
                f"{type(self).__name__}.backward was called before forward; run forward on the "
                "batch whose gradient is wanted first"
            )
        return self._saved


def _alone(part: tuple) -> list[tuple]:
    """Exchange of a batch that is not split."""
    return [part]


def uniform_fan_in(rng: np.random.Generator, shape: Shape, fan_in: int) -> Array:
    """Draw from torch's default for weights and biases: uniform in ±1/sqrt(fan_in), float32."""
    bound = 1.0 / math.sqrt(fan_in)
    return rng.uniform(-bound, bound, shape).astype(np.float32)
