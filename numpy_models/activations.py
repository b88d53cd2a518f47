"""Element-wise activations, and the flattening of images into features."""

from __future__ import annotations

import math

import numpy as np

from numpy_models.bits import bit_mask, select
from numpy_models.layer import Array, Layer, Shape


class ReLU(Layer):
    """y = max(x, 0); the derivative at 0 is 0 and NaN passes through, as in torch."""

    def forward(self, x: Array) -> Array:
        y = np.maximum(x, 0, out=self._output(x, x.shape))
        blocked = np.less_equal(y, 0, out=self._kept("passed", x.shape, bool))
        # Where the gradient passes: a byte per element instead of the whole output.
        self._saved = bit_mask(np.logical_not(blocked, out=blocked))
        return y

    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        passed = self._recall()
        if not input_gradient:
            return None
        return select(dy, passed, out=self._gradient(dy, dy.shape))


class Tanh(Layer):
    """y = tanh(x), with dy/dx = 1 - y²."""

    def forward(self, x: Array) -> Array:
        y = np.tanh(x, out=self._kept("y", x.shape, x.dtype))
        self._saved = y  # the output: the derivative is a function of it
        return y

    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        y = self._recall()
        if not input_gradient:
            return None
        dx = np.multiply(y, y, out=self._gradient(dy, dy.shape))
        np.subtract(1, dx, out=dx)
        return np.multiply(dx, dy, out=dx)


class SiLU(Layer):
    """y = x·s with s = 1 / (1 + exp(-x)), and dy/dx = s·(1 + x·(1 - s)), as in torch."""

    saves_input = True

    def forward(self, x: Array) -> Array:
        s = np.negative(x, out=self._kept("s", x.shape, x.dtype))
        np.exp(s, out=s)
        s += 1
        y = np.divide(x, s, out=self._output(x, x.shape))
        # The sigmoid as well as the input: it costs more to compute again than to keep.
        self._saved = x, np.reciprocal(s, out=s)
        return y

    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        x, s = self._recall()
        if not input_gradient:
            return None
        dx = np.subtract(1, s, out=self._gradient(dy, dy.shape))
        dx *= x
        dx += 1
        dx *= s
        return np.multiply(dx, dy, out=dx)


class Flatten(Layer):
    """Images (C, H, W) to features (C * H * W,), in torch's order; features stay as they are."""

    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)

    def forward(self, x: Array) -> Array:
        self._saved = x.shape  # only the shape, to fold the gradient back
        if x.ndim == 2:
            x = x[:, None, None]
        height, channels, width, n = x.shape
        y = self._output(x, (channels, height, width, n))
        y[...] = x.transpose(1, 0, 2, 3)
        return y.reshape(-1, n)

    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        shape = self._recall()
        if not input_gradient:
            return None
        if len(shape) == 2:
            return dy
        height, channels, width, n = shape
        dx = self._gradient(dy, shape)
        dx[...] = dy.reshape(channels, height, width, n).transpose(1, 0, 2, 3)
        return dx
