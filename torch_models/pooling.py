"""Max pooling with a choice of what happens to the gradient when several elements are the maximum.

Torch sends a window's gradient to the first maximum in row-major order. Reports R0 and R4 compare
the window with its maximum and send the full gradient to every element that equals it.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

Ties = Literal["first", "all"]
Size = int | tuple[int, int]


class MaxPool2d(nn.MaxPool2d):
    """``torch.nn.MaxPool2d`` plus the option ``ties``: (N, C, H, W) to (N, C, H', W').

    Args:
        kernel_size: window, an int or (height, width).
        stride: step between windows; None means the kernel size.
        padding: implicit border of −inf, at most half the kernel.
        ceil_mode: round the output size up instead of down.
        ties: "first" or "all" (see the module's docstring); it does not affect the output.

    Raises:
        ValueError: if ties is neither "first" nor "all".
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        *,
        ties: Ties = "first",
    ) -> None:
        if ties not in ("first", "all"):
            raise ValueError(f'MaxPool2d\'s ties is "first" or "all", not {ties!r}')
        super().__init__(kernel_size, stride, padding, ceil_mode=ceil_mode)
        self.ties = ties

    def forward(self, input: Tensor) -> Tensor:
        """Return the maximum of every window."""
        if self.ties == "first":
            return super().forward(input)
        geometry = _pair(self.kernel_size), _pair(self.stride), _pair(self.padding)
        return _MaxPoolAllTies.apply(input, *geometry, self.ceil_mode)

    def extra_repr(self) -> str:
        """Return the arguments for ``print(module)``."""
        return f"{super().extra_repr()}, ties={self.ties!r}"


class _MaxPoolAllTies(torch.autograd.Function):
    """Max pooling whose backward gives a window's gradient to all elements equal to its maximum."""

    @staticmethod
    def forward(
        x: Tensor,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int],
        ceil_mode: bool,
    ) -> Tensor:
        return F.max_pool2d(x, kernel, stride, padding, ceil_mode=ceil_mode)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.kernel, ctx.stride, ctx.padding, _ = inputs
        ctx.save_for_backward(x, output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, y = ctx.saved_tensors
        (kh, kw), (sh, sw), (ph, pw) = ctx.kernel, ctx.stride, ctx.padding
        H, W = x.shape[-2:]
        OH, OW = y.shape[-2:]
        rows, columns = (OH - 1) * sh + 1, (OW - 1) * sw + 1  # one offset's span over all windows
        below, right = rows + kh - 1 - ph - H, columns + kw - 1 - pw - W
        padded = F.pad(x, (pw, max(right, 0), ph, max(below, 0)), value=-torch.inf)
        dpadded = torch.zeros_like(padded)
        for i in range(kh):
            for j in range(kw):
                window = (..., slice(i, i + rows, sh), slice(j, j + columns, sw))
                dpadded[window] += dy * (padded[window] == y)
        return dpadded[..., ph : ph + H, pw : pw + W], None, None, None, None


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)
