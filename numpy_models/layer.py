"""A layer: everything that goes forward and backward, from a single ReLU to a whole network.

Let L be the loss, x a layer's input, y = f(x; w) its output and w its parameters. Going backward,
the layer is handed dy = dL/dy and owes two things, both by the chain rule:

    dL/dx = (dy/dx)ᵀ · dy, which it returns, and which is the dy of the layer before it;
    dL/dw = (dy/dw)ᵀ · dy, which it writes into its gradients.

Every file of this package derives these two products for one f, above the code that computes them.

From outside, a layer speaks torch's language: batches (N, C, H, W) or (N, F), arrays under torch's
names and in torch's layouts (OIHW convolution kernels, (out, in) matrices). Inside, the batch is
the *last* axis, (H, C, W, N) or (F, N): a window of rows is then one contiguous block, and
element-wise work runs along the batch. :class:`Layer` translates between the two, once, so a new
layer defines only

* ``forward_batch_last(x)``, which returns y and keeps in ``self._saved`` what backward will need;
* ``backward_batch_last(dy, input_gradient)``, which *overwrites* the gradients and returns dL/dx;
* ``output_shape``, unless y has x's shape; ``describe``, ``reset_parameters`` where they apply.

Neither changes the array it is given: others may still need it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

Array = np.ndarray
Shape = tuple[int, ...]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class Layer:
    """Base of layers and networks: a tree, of which ``layers`` are the branches.

    ``flat_parameters`` and ``flat_gradients`` hold all parameters and all gradients, those of the
    layers inside included, in one vector each; the arrays that ``parameters()`` and
    ``gradients()`` return are views of them.
    """

    #: Whether, in training, one sample's output depends on the other samples of the batch.
    mixes_samples: ClassVar[bool] = False

    def __init__(self) -> None:
        self.layers: dict[str, Layer] = {}
        self.training = True
        self._parameters: dict[str, Array] = {}
        self._gradients: dict[str, Array] = {}
        self._buffers: dict[str, Array] = {}
        self._saved: Any = None
        #: Public shapes of the last forward's input and output.
        self._shapes: tuple[Shape, Shape] | None = None
        self._pack(np.dtype(np.float32))

    # What a layer defines

    def forward_batch_last(self, x: Array) -> Array:
        """Return the output for ``x``, both batch last."""
        raise NotImplementedError

    def backward_batch_last(self, dy: Array, input_gradient: bool = True) -> Array | None:
        """Return dL/dx for dL/dy, both batch last; None if ``input_gradient`` is False."""
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

    def describe(self) -> str:
        """Return constructor-like text for tables and error messages."""
        return f"{type(self).__name__}()"

    # Running

    def forward(self, x: Array) -> Array:
        """Return the output for the batch ``x``, (N, C, H, W) or (N, F), of the layer's dtype.

        Infinities and NaN pass through silently, as in torch.

        Raises:
            ValueError: if shape or dtype do not fit, naming the layer that refuses.
        """
        x = np.asarray(x)
        self._shapes = None
        shapes = x.shape, (len(x), *self._checked_output_shape(x))
        with np.errstate(all="ignore"):
            y = batch_first(self.forward_batch_last(batch_last(x).copy())).copy()
        self._shapes = shapes
        return y

    def __call__(self, x: Array) -> Array:
        """Return ``forward(x)``."""
        return self.forward(x)

    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        """Return the gradient of the last ``forward``'s input, and compute all parameters'.

        Gradients are overwritten, never added to; parameters stay as they are.

        Args:
            dy: gradient of the loss with respect to the output, of the output's shape.
            input_gradient: False skips the input's gradient and returns None.

        Raises:
            RuntimeError: if there was no ``forward``.
            ValueError: if ``dy`` has another shape than the output.
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
        return None if dx is None else batch_first(dx).copy()

    # State

    def parameters(self) -> dict[str, Array]:
        """Return the live parameters by torch's names, such as ``c1.weight``."""
        return self._named("_parameters")

    def gradients(self) -> dict[str, Array]:
        """Return the live gradients of the last ``backward``, under the parameters' names."""
        return self._named("_gradients")

    def buffers(self) -> dict[str, Array]:
        """Return the live buffers (batch-norm statistics) by torch's names."""
        return self._named("_buffers")

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters and buffers, in torch's order and under torch's keys."""
        live = self._named("_parameters", "_buffers")
        return {name: array.copy() for name, array in live.items()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Copy ``state`` in.

        Raises:
            ValueError: for a missing or extra key, or another shape or dtype; then nothing at
                all has been changed.
        """
        live = self._named("_parameters", "_buffers")
        missing, extra = sorted(live.keys() - state.keys()), sorted(state.keys() - live.keys())
        if missing or extra:
            raise ValueError(f"state does not fit the network: missing {missing}, extra {extra}")
        for name, array in live.items():
            given = np.asarray(state[name])
            if given.shape != array.shape or given.dtype != array.dtype:
                raise ValueError(
                    f"{name}: expected shape {array.shape} {array.dtype}, got {given.shape} "
                    f"{given.dtype}"
                )
        for name, array in live.items():
            array[...] = state[name]

    def to(self, dtype: type | np.dtype) -> Self:
        """Convert parameters and statistics to float32 or float64 in place; return the layer.

        Raises:
            ValueError: for any other dtype, or for a layer that is part of another.
        """
        if np.dtype(dtype) not in FLOATS:
            raise ValueError(f"a network is float32 or float64, not {np.dtype(dtype)}")
        if self.is_part:
            raise ValueError(f"{self.describe()} is part of a network; convert the network instead")
        self._pack(np.dtype(dtype))
        return self

    def copy(self) -> Self:
        """Return an independent layer with the same options, parameters and buffers."""
        twin = copy.copy(self)
        twin.layers = {name: layer.copy() for name, layer in self.layers.items()}
        twin._parameters, twin._gradients = dict(self._parameters), {}
        twin._buffers = {name: array.copy() for name, array in self._buffers.items()}
        twin._saved = None
        twin._pack(self.dtype)
        return twin

    def __deepcopy__(self, memo: dict) -> Self:
        return self.copy()

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
        """Return the layers that have none inside, by dotted name; a lone layer's name is empty."""
        if not self.layers:
            return {"": self}
        return {
            joined(name, inner): leaf
            for name, layer in self.layers.items()
            for inner, leaf in layer.leaves().items()
        }

    @property
    def is_part(self) -> bool:
        """Whether this layer is inside another one, whose vectors then hold its parameters."""
        return self.flat_parameters.base is not None

    def __repr__(self) -> str:
        return self.describe()

    # Inside

    def _add_parameter(self, name: str, shape: Shape) -> None:
        self._parameters[name] = np.zeros(shape, np.float32)
        self._pack(np.dtype(np.float32))

    def _pack(self, dtype: np.dtype) -> None:
        """Move all parameters into one new vector, all gradients into another."""
        size = sum(array.size for array in self.parameters().values())
        self._bind(np.empty(size, dtype), np.zeros(size, dtype))

    def _bind(self, parameters: Array, gradients: Array) -> None:
        """Move into ``parameters`` and ``gradients``, vectors of this layer's size."""
        self.flat_parameters, self.flat_gradients = parameters, gradients
        self.dtype = parameters.dtype
        self._shapes = None
        start = 0
        for name, array in self._parameters.items():
            place = slice(start, start + array.size)
            start += array.size
            parameters[place] = array.ravel()
            self._parameters[name] = parameters[place].reshape(array.shape)
            self._gradients[name] = gradients[place].reshape(array.shape)
        for name, array in self._buffers.items():
            if np.issubdtype(array.dtype, np.floating):
                self._buffers[name] = array.astype(self.dtype)
        for layer in self.layers.values():
            place = slice(start, start + layer.flat_parameters.size)
            start = place.stop
            layer._bind(parameters[place], gradients[place])

    def _named(self, *kinds: str) -> dict[str, Array]:
        arrays = {name: array for kind in kinds for name, array in getattr(self, kind).items()}
        for name, layer in self.layers.items():
            inner = layer._named(*kinds).items()
            arrays |= {joined(name, inner_name): array for inner_name, array in inner}
        return arrays

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


def joined(outer: str, inner: str) -> str:
    """Return a dotted name; what has none of its own keeps the outer one."""
    return f"{outer}.{inner}" if inner else outer
