"""A convolution with a residual connection around it (He et al., 2016, identity shortcut)."""

from __future__ import annotations

from torch import Tensor, nn


class ResidualConv2d(nn.Conv2d):
    """y = x + conv(x): (N, C, H, W) to the same shape; parameters as ``torch.nn.Conv2d``.

    Args:
        channels: C.
        kernel_size: side of the kernel; padded so that the size stays.

    Raises:
        ValueError: if kernel_size is even, which no padding keeps in place.
    """

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        if kernel_size % 2 == 0:
            raise ValueError(f"ResidualConv2d needs an odd kernel_size, got {kernel_size}")
        super().__init__(channels, channels, kernel_size, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)
