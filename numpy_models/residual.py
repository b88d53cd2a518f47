"""A residual connection around layers that keep their input's shape (He et al. 2016).

y = x + f(x), so dL/dx = dy + (df/dx)ᵀ · dy: the gradient that f returns, plus dy itself. The
parameters and their gradients are those of f.
"""

from __future__ import annotations

from numpy_models.layer import Array, Layer, Shape
from numpy_models.sequential import Sequential


class Residual(Sequential):
    """y = x + f(x), where f applies the given layers in sequence.

    Args:
        *layers, **named_layers: as for :class:`numpy_models.Sequential`.

    Raises:
        ValueError: as ``Sequential``, or for an input whose shape the layers change.
    """

    def forward_batch_last(self, x: Array) -> Array:
        return x + super().forward_batch_last(x)

    def backward_batch_last(self, dy: Array, input_gradient: bool = True) -> Array | None:
        dx = super().backward_batch_last(dy, input_gradient)
        return None if dx is None else dy + dx

    def output_shapes(self, shape: Shape) -> list[tuple[str, Layer, Shape]]:
        rows = super().output_shapes(shape)
        if rows[-1][2] != shape:
            raise ValueError(
                f"Residual needs layers that keep the shape of a sample, but they turn {shape} "
                f"into {rows[-1][2]}; choose a padding that keeps the size"
            )
        return rows
