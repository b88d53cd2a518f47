"""Dropout, in the inverted kind of today's libraries and the original kind of report R2."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal, Self

import numpy as np

from numpy_models.layer import Array, Layer, Shape


class Dropout(Layer):
    """Elements are kept where a uniform draw exceeds ``p``.

    * ``kind="inverted"`` (``torch.nn.Dropout``): training y = x * keep / (1 - p), evaluation y = x.
    * ``kind="original"`` (R2; Srivastava et al. 2014): training y = x * keep, evaluation
      y = x * (1 - p).

    Args:
        p: probability of dropping an element, 0 <= p <= 1.

    ``draw``, when set, replaces the layer's own generator: it is called with the public shape of
    the activation, (N, ...), and returns that many uniforms in [0, 1). That is how two networks
    share one mask.

    Raises:
        ValueError: if ``p`` is not a probability, or ``kind`` is unknown.
    """

    def __init__(self, p: float = 0.5, kind: Literal["inverted", "original"] = "inverted") -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p must be a probability between 0 and 1, got {p!r}")
        if kind not in ("inverted", "original"):
            raise ValueError(f'Dropout: kind must be "inverted" or "original", got {kind!r}')
        self.p, self.kind = p, kind
        self.draw: Callable[[Shape], Array] | None = None
        self._rng = np.random.default_rng()

    def describe(self) -> str:
        return f'Dropout(p={self.p}, kind="{self.kind}")'

    def copy(self) -> Self:
        """Return an independent layer that goes on with the same masks; ``draw`` is shared."""
        twin = super().copy()
        twin._rng = copy.deepcopy(self._rng)
        return twin

    def draw_uniforms(self, shape: Shape) -> Array:
        """Return uniforms in [0, 1) for a whole batch of public shape ``shape``.

        Raises:
            ValueError: if a custom ``draw`` returns another shape.
        """
        if self.draw is None:
            return self._rng.random(shape, np.float32)
        uniforms = np.asarray(self.draw(shape))
        if uniforms.shape != shape:
            raise ValueError(f"Dropout.draw returned shape {uniforms.shape}, expected {shape}")
        return uniforms

    def forward(self, x: Array) -> Array:
        if not self.training:
            factor = 1 - self.p if self.kind == "original" else 1.0
            self._saved = np.asarray(factor, x.dtype)  # the factor each element was multiplied by
        else:
            assert self.uniforms is not None, "uniforms are drawn by Sequential before forward"
            keep = self._kept("keep", x.shape, x.dtype)
            np.copyto(keep, self.uniforms > self.p)
            if self.kind == "inverted" and self.p < 1:
                keep /= 1 - self.p
            self._saved = keep
        return np.multiply(x, self._saved, out=self._output(x, x.shape))

    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        factor = self._recall()
        if not input_gradient:
            return None
        return np.multiply(dy, factor, out=self._gradient(dy, dy.shape))
