"""Dropout: the inverted kind of today's libraries, and the original kind of report R2.

y = m · x, with a factor m per element that does not depend on x, so dL/dx = m · dy.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal, Self

import numpy as np

from numpy_models.layer import Array, Layer, Shape, batch_first, batch_last


class Dropout(Layer):
    """Elements are kept where a uniform draw exceeds ``p``.

    * ``kind="inverted"`` (``torch.nn.Dropout``): training y = x * keep / (1 - p), evaluation y = x.
    * ``kind="original"`` (R2; Srivastava et al. 2014): training y = x * keep, evaluation
      y = x * (1 - p).

    Args:
        p: probability of dropping an element, 0 <= p <= 1.

    ``draw``, if set, replaces the layer's own generator: it takes the public shape of the
    activation, (N, ...), and returns uniforms in [0, 1) of that shape. This lets two networks share
    one mask.

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

    def __repr__(self) -> str:
        return f'Dropout(p={self.p}, kind="{self.kind}")'

    def copy(self) -> Self:
        """Return an independent layer that will draw the same masks; ``draw`` is shared."""
        twin = super().copy()
        twin._rng = copy.deepcopy(self._rng)
        return twin

    def uniforms(self, shape: Shape) -> Array:
        """Return uniforms in [0, 1) for a batch of public shape ``shape``.

        Raises:
            ValueError: if a custom ``draw`` returns a different shape.
        """
        if self.draw is None:
            return self._rng.random(shape, np.float32)
        uniforms = np.asarray(self.draw(shape))
        if uniforms.shape != shape:
            raise ValueError(f"Dropout.draw returned shape {uniforms.shape}, expected {shape}")
        return uniforms

    def forward_batch_last(self, x: Array) -> Array:
        if self.training:
            keep = batch_last(self.uniforms(batch_first(x).shape)) > self.p
            self._saved = keep.astype(x.dtype)
            if self.kind == "inverted" and self.p < 1:
                self._saved /= 1 - self.p
        else:
            self._saved = x.dtype.type(1 - self.p if self.kind == "original" else 1)
        return x * self._saved

    def backward_batch_last(self, dy: Array, input_gradient: bool = True) -> Array:
        return dy * self._saved
