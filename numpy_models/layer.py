"""A layer: anything with a forward and a backward pass, from a single ReLU to a whole network.

Let L be the loss, x a layer's input, y = f(x; w) its output and w its parameters. The backward pass
takes dy = dL/dy and computes two products, both by the chain rule:

    dL/dx = (dy/dx)ᵀ · dy, which it returns: the dy of the layer before;
    dL/dw = (dy/dw)ᵀ · dy, which it writes to the layer's gradients.

Every file of this package derives these two products for one f, above the code that computes them.

Outside, a layer follows torch's conventions: batches (N, C, H, W) or (N, F), arrays under torch's
names and in torch's layouts (OIHW convolution kernels, (out, in) matrices). Inside, the batch is
the *last* axis, (H, C, W, N) or (F, N): a window of rows is then one contiguous block, and
element-wise operations run along the batch. :class:`Layer` converts between the two, so a new layer
defines only

* ``forward_batch_last(x)``, which returns y and keeps in ``self._saved`` what backward will need;
* ``backward_batch_last(dy, input_gradient)``, which *overwrites* the gradients and returns dL/dx,
  or None where that is not wanted and would cost;
* ``output_shape``, unless y has x's shape; ``__repr__``, ``reset_parameters`` where they apply.

Neither pass modifies its argument, which others may still need.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self

import numpy as np

from numpy_models.state import Array, Shape, State, joined


class Layer(State):
    """Base of layers and networks; ``layers`` holds the inner layers by name."""

    #: Whether, in training, one sample's output depends on the other samples of the batch.
    mixes_samples: ClassVar[bool] = False

    layers: dict[str, Layer]
    #: What ``backward_batch_last`` needs of the last ``forward_batch_last``.
    _saved: Any
    #: Public shapes of the last ``forward``'s input and output.
    _shapes: tuple[Shape, Shape] | None

    def __init__(self) -> None:
        super().__init__()
        self.training = True

    # What a layer defines

    def forward_batch_last(self, x: Array) -> Array:
        """Return the output for ``x``, both batch last."""
        raise NotImplementedError

    def backward_batch_last(self, dy: Array, input_gradient: bool = True) -> Array | None:
        """Return dL/dx for dL/dy, both batch last; unused if ``input_gradient`` is False."""
        raise NotImplementedError

    def output_shape(self, shape: Shape) -> Shape:
        """Return one sample's output shape, in torch's order, for one sample of shape ``shape``.

        Raises:
            ValueError: if the layer cannot take such an input.
        """
        return shape

    def reset_parameters(self, seed: int | np.random.Generator) -> None:
        """Draw new parameters from torch's default distributions, layer by layer."""
        rng = np.random.default_rng(seed)
        for layer in self.layers.values():
            layer.reset_parameters(rng)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    # Running

    def forward(self, x: Array) -> Array:
        """Return the output for the batch ``x``, (N, C, H, W) or (N, F), of the layer's dtype.

        Infinities and NaN pass through silently, as in torch.

        Raises:
            ValueError: if shape or dtype do not fit; the message names the layer.
        """
        x = np.asarray(x)
        self.forget()  # first: new arrays then reuse the last batch's memory, still in the cache
        shapes = x.shape, (len(x), *self._checked_output_shape(x))
        with np.errstate(all="ignore"):
            y = batch_first(self.forward_batch_last(batch_last(x).copy())).copy()
        self._shapes = shapes
        return y

    def __call__(self, x: Array) -> Array:
        """Return ``forward(x)``."""
        return self.forward(x)

    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        """Return the gradient of the last ``forward``'s input; compute the parameters' gradients.

        Gradients are overwritten, never added to; parameters stay as they are.

        Args:
            dy: gradient of the loss with respect to the output, of the output's shape.
            input_gradient: False skips the input's gradient and returns None.

        Raises:
            RuntimeError: if there was no ``forward``.
            ValueError: if the shape of ``dy`` is not the output's.
        """
        if self._shapes is None:
            raise RuntimeError(
                f"{type(self).__name__}.backward was called before forward; run forward on the "
                "batch whose gradient is wanted first"
            )
        dy = np.asarray(dy, self.dtype)
        if dy.shape != self._shapes[1]:
            raise ValueError(
                f"{type(self).__name__}.backward takes a gradient of shape {self._shapes[1]}, "
                f"got {dy.shape}"
            )
        with np.errstate(all="ignore"):
            dx = self.backward_batch_last(batch_last(dy).copy(), input_gradient)
        return batch_first(dx).copy() if input_gradient and dx is not None else None

    def forget(self) -> None:
        """Drop what the last ``forward`` kept for ``backward``."""
        self._saved = self._shapes = None
        for layer in self.layers.values():
            layer.forget()

    # Modes

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode (evaluation, if ``mode`` is False); return the layer."""
        self.training = mode
        for layer in self.layers.values():
            layer.train(mode)
        return self

    def eval(self) -> Self:
        """Switch to evaluation mode: no dropout, running statistics; return the layer."""
        return self.train(False)

    # The tree

    def output_shapes(self, shape: Shape) -> list[tuple[str, Layer, Shape]]:
        """Return (name, layer, one sample's output shape) of every leaf of the tree, in order.

        Raises:
            ValueError: naming the first layer that cannot take its input.
        """
        return [("", self, self.output_shape(tuple(shape)))]

    def leaves(self) -> dict[str, Layer]:
        """Return the layers without inner layers, by dotted name; "" for a lone layer."""
        if not self.layers:
            return {"": self}
        return {
            joined(name, inner): leaf
            for name, layer in self.layers.items()
            for inner, leaf in layer.leaves().items()
        }

    # Inside

    def _checked_output_shape(self, x: Array) -> Shape:
        if x.ndim not in (2, 4) or len(x) == 0:
            raise ValueError(
                f"{type(self).__name__} takes a batch (N, C, H, W) or (N, F) with N >= 1, got "
                f"shape {x.shape}"
            )
        if x.dtype != self.dtype:
            raise ValueError(
                f"{type(self).__name__} is {self.dtype}, got input of {x.dtype}; convert one with "
                f"x.astype({self.dtype}) or net.to({x.dtype})"
            )
        return self.output_shape(x.shape[1:])


def uniform_fan_in(rng: np.random.Generator, shape: Shape, fan_in: int) -> Array:
    """Draw from torch's default for weights and biases: uniform in ±1/sqrt(fan_in), float32."""
    bound = 1.0 / math.sqrt(fan_in)
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def batch_last(public: Array) -> Array:
    """Return (N, C, H, W) as (H, C, W, N), (N, F) as (F, N); a view."""
    return public.transpose(2, 1, 3, 0) if public.ndim == 4 else public.T


def batch_first(inside: Array) -> Array:
    """Return (H, C, W, N) as (N, C, H, W), (F, N) as (N, F); a view."""
    return inside.transpose(3, 1, 0, 2) if inside.ndim == 4 else inside.T
