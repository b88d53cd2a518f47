"""The contract every NumPy layer keeps, stated once.

Inside a network the batch is the *last* axis: images are ``(H, C, W, N)`` and features ``(F, N)``,
so a window of rows is one contiguous block and element-wise work runs along the batch. The public
``(N, C, H, W)`` / ``(N, F)`` arrays appear only at the face of :class:`numpy_models.Sequential`.

* ``forward(x)`` returns the output, never changes ``x`` and remembers in ``self._saved`` whatever
  ``backward`` will need: that one attribute, and nothing else, ties the two calls together.
* ``backward(dy)`` returns the gradient with respect to ``x``. It *overwrites* ``self.gradients``
  (no accumulation) and changes neither ``dy`` nor the parameters.
* Returned arrays are the layer's own work buffers, valid until its next call.
* ``parameters``, ``gradients`` and ``buffers`` are dictionaries keyed by torch's names, with
  torch's shapes and memory layouts (OIHW convolution kernels, ``(out, in)`` matrices).
"""

from __future__ import annotations

import copy
import math
from typing import Any, Self

import numpy as np

Array = np.ndarray
Shape = tuple[int, ...]


class Layer:
    """Base of all layers: named arrays, work buffers and the forward/backward pairing."""

    #: Whether statistics must be exchanged between the shards of a batch.
    synchronises = False

    def __init__(self) -> None:
        self.parameters: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}
        self.buffers: dict[str, Array] = {}
        self.training = True
        self.owned = False
        self._saved: Any = None
        self._work: dict[str, Array] = {}

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of one sample's output, in public order, for one sample of shape ``shape``.

        Raises:
            ValueError: if the layer cannot take such an input.
        """
        return shape

    def forward(self, x: Array) -> Array:
        """Output for ``x``; batch last."""
        raise NotImplementedError

    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        """Gradient of the loss with respect to the last ``forward``'s input; batch last.

        With ``input_gradient=False`` only the parameters' gradients are computed and the result
        is None: the first layer of a network in training has nobody to hand its gradient to.
        """
        raise NotImplementedError

    def reset_parameters(self, rng: np.random.Generator) -> None:
        """Draw new parameters from torch's default distribution for this layer."""

    def describe(self) -> str:
        """Constructor-like text for tables and error messages."""
        return f"{type(self).__name__}()"

    def copy(self) -> Self:
        """An independent layer with the same options, parameters and buffers."""
        twin = copy.copy(self)
        twin.parameters = {name: array.copy() for name, array in self.parameters.items()}
        twin.gradients = {name: array.copy() for name, array in self.gradients.items()}
        twin.buffers = {name: array.copy() for name, array in self.buffers.items()}
        twin.owned, twin._saved, twin._work = False, None, {}
        return twin

    def replica(self, gradients: dict[str, Array]) -> Self:
        """A layer that shares parameters and buffers but has its own gradients and memory.

        One replica works on one shard of the batch.
        """
        twin = copy.copy(self)
        twin.gradients = gradients
        twin._saved, twin._work = None, {}
        return twin

    def _add_parameter(self, name: str, shape: Shape) -> None:
        self.parameters[name] = np.zeros(shape, np.float32)
        self.gradients[name] = np.zeros(shape, np.float32)

    def _buffer(self, name: str, shape: Shape, dtype: Any, fill: float | None = None) -> Array:
        """A work array kept between calls; ``fill`` is written once, when it is made."""
        held = self._work.get(name)
        if held is None or held.shape != shape or held.dtype != dtype:
            held = np.empty(shape, dtype) if fill is None else np.full(shape, fill, dtype)
            self._work[name] = held
        return held

    def _recall(self) -> Any:
        if self._saved is None:
            raise RuntimeError(
                f"{type(self).__name__}.backward was called before forward; run forward on the "
                "batch whose gradient is wanted first"
            )
        return self._saved


def uniform_fan_in(rng: np.random.Generator, shape: Shape, fan_in: int) -> Array:
    """torch's default for weights and biases alike: uniform in ±1/sqrt(fan_in), float32."""
    bound = 1.0 / math.sqrt(fan_in)
    return rng.uniform(-bound, bound, shape).astype(np.float32)
