"""Two-dimensional convolution (cross-correlation, as in torch)."""

from __future__ import annotations

import numpy as np

from numpy_models import row_windows
from numpy_models.geometry import Pair, Windows, as_pair, require_image
from numpy_models.layer import Array, Layer, Shape, uniform_fan_in


class Conv2d(Layer):
    """Cross-correlation of images with a bank of kernels, as ``torch.nn.Conv2d``.

    y[f, r, c] = bias[f] + sum over (ch, i, j) of weight[f, ch, i, j] * x[ch, r*sh + i, c*sw + j],
    with x padded by zeros.

    Args:
        in_channels, out_channels: C and F.
        kernel_size, stride, padding: an integer or a (height, width) pair.
        bias: whether a bias per output channel is added.

    Parameters: ``weight`` (F, C, kh, kw), ``bias`` (F,).

    Raises:
        ValueError: for sizes that are not positive, another number of channels than
            ``in_channels``, or a geometry that would give an empty output.
    """

    saves_input = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = as_pair(
            (in_channels, out_channels), "(in_channels, out_channels)", 1
        )
        self.windows = Windows(
            as_pair(kernel_size, "kernel_size", 1),
            as_pair(stride, "stride", 1),
            as_pair(padding, "padding", 0),
        )
        self._add_parameter("weight", (out_channels, in_channels, *self.windows.kernel))
        if bias:
            self._add_parameter("bias", (out_channels,))
        self.reset_parameters(np.random.default_rng())

    def describe(self) -> str:
        k, s, p = self.windows.kernel, self.windows.stride, self.windows.padding
        return (
            f"Conv2d({self.in_channels}, {self.out_channels}, kernel_size={k}, stride={s}, "
            f"padding={p})"
        )

    def reset_parameters(self, rng: np.random.Generator) -> None:
        fan_in = self.in_channels * self.windows.kernel[0] * self.windows.kernel[1]
        for array in self.parameters.values():
            array[...] = uniform_fan_in(rng, array.shape, fan_in)

    def output_shape(self, shape: Shape) -> Shape:
        channels, height, width = require_image(shape, "Conv2d")
        if channels != self.in_channels:
            raise ValueError(
                f"Conv2d expects {self.in_channels} input channels, got {channels} in samples of "
                f"shape {shape}"
            )
        return (self.out_channels, *self.windows.output_size(height, width, "Conv2d"))

    def _by_row_windows(self) -> bool:
        """Where the fast path is chosen; the general one goes kernel offset by kernel offset."""
        return self.windows.stride == (1, 1)

    def forward(self, x: Array) -> Array:
        self._saved = x  # the input, for the weight gradient
        height, _, width, n = x.shape
        oh, ow = self.windows.output_size(height, width, "Conv2d")
        y = self._output(x, (oh, self.out_channels, ow, n))
        weight, bias = self.parameters["weight"], self.parameters.get("bias")
        if self._by_row_windows():
            unrolled = self._unrolled(x, ow)
            row_windows.forward(unrolled, weight, bias, self.windows.padding[0], y)
            return y
        y[...] = 0 if bias is None else bias[:, None, None]
        for i, j, window in self.windows.offsets(self._padded(x), oh, ow):
            y += np.einsum("fc,hcwn->hfwn", weight[:, :, i, j], window, optimize=True)
        return y

    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        x = self._recall()
        if "bias" in self.gradients:
            oh, filters, ow, n = dy.shape
            by_row = dy.reshape(oh * filters, ow * n) @ np.ones(ow * n, dy.dtype)
            by_row.reshape(oh, filters).sum(axis=0, out=self.gradients["bias"])
        if self._by_row_windows():
            return self._backward_row_windows(x, dy, input_gradient)
        return self._backward_offsets(x, dy, input_gradient)

    def _backward_row_windows(self, x: Array, dy: Array, input_gradient: bool) -> Array | None:
        unrolled, padding = self._unrolled(x, dy.shape[2]), self.windows.padding
        row_windows.weight_gradient(unrolled, dy, padding[0], self.gradients["weight"])
        if not input_gradient:
            return None
        dx = self._gradient(dy, x.shape)
        row_windows.input_gradient(dy, self.parameters["weight"], padding, unrolled, dx)
        return dx

    def _backward_offsets(self, x: Array, dy: Array, input_gradient: bool) -> Array | None:
        weight, gradient = self.parameters["weight"], self.gradients["weight"]
        padded = self._padded(x)
        oh, _, ow, _ = dy.shape
        for i, j, window in self.windows.offsets(padded, oh, ow):
            gradient[:, :, i, j] = np.einsum("hfwn,hcwn->fc", dy, window, optimize=True)
        if not input_gradient:
            return None
        padded[...] = 0  # from here on its gradient
        for i, j, window in self.windows.offsets(padded, oh, ow):
            window += np.einsum("fc,hfwn->hcwn", weight[:, :, i, j], dy, optimize=True)
        (ph, pw), (height, _, width, _) = self.windows.padding, x.shape
        return padded[ph : ph + height, :, pw : pw + width]

    def _unrolled(self, x: Array, ow: int) -> Array:
        """Made anew in ``backward``: copying it again is cheaper than keeping it all the while."""
        height, channels, _, n = x.shape
        shape = (height, channels, self.windows.kernel[1], ow, n)
        unrolled = self._scratch("unrolled", shape, x.dtype)
        row_windows.unroll_columns(x, self.windows.padding[1], unrolled)
        return unrolled

    def _padded(self, x: Array) -> Array:
        (ph, pw), (height, channels, width, n) = self.windows.padding, x.shape
        padded = np.zeros((height + 2 * ph, channels, width + 2 * pw, n), x.dtype)
        padded[ph : ph + height, :, pw : pw + width] = x
        return padded
