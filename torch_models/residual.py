"""A residual connection around modules that keep their input's shape (He et al., 2016)."""

from __future__ import annotations

from torch import Tensor, nn


class Residual(nn.Sequential):
    """y = x + f(x), where f applies the given modules in sequence and keeps the shape of x.

    Raises:
        ValueError: for an input whose shape f changes.
    """

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        if y.shape != x.shape:
            raise ValueError(
                f"Residual needs modules that keep the shape, but they turn {tuple(x.shape)} into "
                f"{tuple(y.shape)}; choose a padding that keeps the size"
            )
        return x + y
