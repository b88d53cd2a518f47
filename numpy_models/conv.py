"""Two-dimensional convolution (cross-correlation, as in torch).

With x padded by p zeros and stride s, per sample, filter f and output position (r, c),

    y[f, r, c] = b[f] + Σ_{ch,i,j} w[f, ch, i, j] · x[ch, r·s + i, c·s + j].

Each product w · x contributes to one output, so each factor's gradient is the other factor times
that output's dy:

    dL/dw[f, ch, i, j]       = Σ_{r,c}   dy[f, r, c] · x[ch, r·s + i, c·s + j],
    dL/dx[ch, r·s + i, c·s + j] += Σ_f   w[f, ch, i, j] · dy[f, r, c]   for all i, j, r, c,
    dL/db[f]                 = Σ_{r,c}   dy[f, r, c],

with the parameters' gradients summed over the batch as well. For one kernel offset (i, j), each
line is a single matrix product over all positions: that is the general path below. With stride 1,
:mod:`numpy_models.row_windows` processes a kernel's whole row, or all its rows, at once.
"""

from __future__ import annotations

import numpy as np

from numpy_models import row_windows
from numpy_models.geometry import Pair, Windows, as_pair, require_image
from numpy_models.layer import Array, Layer, Shape, uniform_fan_in


class Conv2d(Layer):
    """Cross-correlation of images with a bank of kernels, as ``torch.nn.Conv2d``.

    Args:
        in_channels, out_channels: C and F.
        kernel_size, stride, padding: an integer or a (height, width) pair.
        bias: whether a bias per output channel is added.

    Parameters: ``weight`` (F, C, kh, kw), ``bias`` (F,).

    Raises:
        ValueError: for sizes that are not positive, an input that does not have ``in_channels``
            channels, or a geometry that would give an empty output.
    """

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

    def __repr__(self) -> str:
        k, s, p = self.windows.kernel, self.windows.stride, self.windows.padding
        return (
            f"Conv2d({self.in_channels}, {self.out_channels}, kernel_size={k}, stride={s}, "
            f"padding={p})"
        )

    def reset_parameters(self, seed: int | np.random.Generator) -> None:
        rng = np.random.default_rng(seed)
        fan_in = self.in_channels * self.windows.kernel[0] * self.windows.kernel[1]
        for array in self._parameters.values():
            array[...] = uniform_fan_in(rng, array.shape, fan_in)

    def output_shape(self, shape: Shape) -> Shape:
        _, height, width = require_image(shape, "Conv2d", self.in_channels)
        return (self.out_channels, *self.windows.output_size(height, width, "Conv2d"))

    def _by_row_windows(self) -> bool:
        """Return whether the fast path applies; the general one loops over kernel offsets.

        It needs stride 1, and windows that each contain a row of the image.
        """
        w = self.windows
        return w.stride == (1, 1) and w.padding[0] < w.kernel[0]

    def forward_batch_last(self, x: Array) -> Array:
        weight, bias = self._parameters["weight"], self._parameters.get("bias")
        self._saved = x
        if self._by_row_windows():
            return row_windows.forward(x, weight, bias, self.windows.padding)
        y = np.zeros((), x.dtype) if bias is None else bias[:, None, None]
        for i, j, window in self.windows.offsets(self.windows.frame(x, 0)):
            y = y + np.einsum("fc,hcwn->hfwn", weight[:, :, i, j], window, optimize=True)
        return y

    def backward_batch_last(self, dy: Array, input_gradient: bool = True) -> Array | None:
        x, padding = self._saved, self.windows.padding
        weight, gradient = self._parameters["weight"], self._gradients["weight"]
        oh, filters, ow, n = dy.shape
        if "bias" in self._gradients:
            by_row = dy.reshape(oh * filters, ow * n) @ np.ones(ow * n, dy.dtype)
            by_row.reshape(oh, filters).sum(axis=0, out=self._gradients["bias"])
        if self._by_row_windows():
            row_windows.weight_gradient(x, dy, padding, gradient)
            if not input_gradient:
                return None
            return row_windows.input_gradient(dy, weight, padding, x.shape)
        framed = self.windows.frame(x, 0)
        for i, j, window in self.windows.offsets(framed):
            gradient[:, :, i, j] = np.einsum("hfwn,hcwn->fc", dy, window, optimize=True)
        if not input_gradient:
            return None
        d_framed = np.zeros_like(framed)
        for i, j, window in self.windows.offsets(d_framed):
            window += np.einsum("fc,hfwn->hcwn", weight[:, :, i, j], dy, optimize=True)
        return self.windows.inside(d_framed, x.shape)
