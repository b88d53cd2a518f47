"""Convolution with a shortcut around it (He et al. 2016)."""

from __future__ import annotations

from typing import cast

from numpy_models.conv import Conv2d
from numpy_models.layer import Array


class ResidualConv2d(Conv2d):
    """y = x + conv(x), the convolution padded so that the image's size stays.

    Args:
        channels: C, of input and output.
        kernel_size: odd side of the kernel.

    Parameters: ``weight`` (C, C, k, k), ``bias`` (C,).

    Raises:
        ValueError: for an even kernel, which no padding keeps in place, and as ``Conv2d``.
    """

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        if kernel_size % 2 == 0:
            raise ValueError(f"ResidualConv2d needs an odd kernel_size, got {kernel_size}")
        super().__init__(channels, channels, kernel_size, padding=kernel_size // 2)

    def describe(self) -> str:
        return f"ResidualConv2d({self.in_channels}, kernel_size={self.windows.kernel[0]})"

    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        y += x
        return y

    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        dx = super().backward(dy, input_gradient)
        if input_gradient:
            dx = cast(Array, dx)
            dx += dy
        return dx
