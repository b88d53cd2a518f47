"""Element-wise activations, and the flattening of images into features; none has parameters.

For y = f(x), element by element, dL/dx = f'(x) · dy. Flattening only changes the order of the
elements, so backward undoes that change.
"""

from __future__ import annotations

import math

import numpy as np

from numpy_models.bits import select
from numpy_models.layer import Array, Layer, Shape
from numpy_models.memory import empty


class ReLU(Layer):
    """y = max(x, 0); f' is 1 where x > 0, else 0, but NaN passes both ways, as in torch."""

    def forward_batch_last(self, x: Array) -> Array:
        self._saved = y = np.maximum(x, 0, out=empty(x.shape, x.dtype))
        return y

    def backward_batch_last(self, dy: Array, input_gradient: bool = True) -> Array:
        return select(dy, self._saved != 0, out=empty(dy.shape, dy.dtype))


class Tanh(Layer):
    """y = tanh(x); f' = 1 - y², a function of the output."""

    def forward_batch_last(self, x: Array) -> Array:
        self._saved = y = np.tanh(x, out=empty(x.shape, x.dtype))
        return y

    def backward_batch_last(self, dy: Array, input_gradient: bool = True) -> Array:
        dx = np.square(self._saved, out=empty(dy.shape, dy.dtype))
        np.subtract(1, dx, out=dx)
        dx *= dy
        return dx


class SiLU(Layer):
    """y = x·s with s = 1 / (1 + exp(-x)); s' = s·(1 - s), so f' = s·(1 + x·(1 - s))."""

    def forward_batch_last(self, x: Array) -> Array:
        e = np.exp(-x)
        e += 1
        y = x / e
        # The sigmoid as well as the input: it costs more to compute again than to keep.
        self._saved = x, np.reciprocal(e, out=e)
        return y

    def backward_batch_last(self, dy: Array, input_gradient: bool = True) -> Array:
        x, s = self._saved
        dx = 1 - s
        dx *= x
        dx += 1
        dx *= s
        dx *= dy
        return dx


class Flatten(Layer):
    """Images (C, H, W) to features (C * H * W,), in torch's order; features stay as they are."""

    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)

    def forward_batch_last(self, x: Array) -> Array:
        self._saved = x.shape
        return x if x.ndim == 2 else x.swapaxes(0, 1).reshape(-1, x.shape[-1])

    def backward_batch_last(self, dy: Array, input_gradient: bool = True) -> Array:
        shape = self._saved
        if len(shape) == 2:
            return dy
        height, channels, width, n = shape
        return dy.reshape(channels, height, width, n).swapaxes(0, 1).copy()
