"""A stack of layers: the public face of a NumPy network."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Self, cast

import numpy as np

from numpy_models.layer import Array, Layer, Shape
from numpy_models.sharding import NUMBERS_PER_THREAD
from numpy_models.shards import Shards, Stack, batch_first, batch_last


class Sequential:
    """Layers run one after the other, with torch's face: (N, C, H, W) in, (N, ...) out.

    Args:
        *layers: layers named "0", "1", ... as torch names them.
        **named_layers: layers under their own names.

    ``backward`` overwrites the gradients; it never accumulates and never changes a parameter.
    All parameters live in one flat vector, ``flat_parameters``, and all gradients in
    ``flat_gradients``; the dictionaries hold views into them.

    Raises:
        ValueError: if a layer already belongs to another network, or there is no layer.
    """

    def __init__(self, *layers: Layer, **named_layers: Layer) -> None:
        named = {str(i): layer for i, layer in enumerate(layers)} | named_layers
        if not named:
            raise ValueError("Sequential needs at least one layer")
        for name, layer in named.items():
            if not isinstance(layer, Layer):
                raise ValueError(f"Sequential takes layers, got {layer!r} as {name}")
            if layer.owned:
                raise ValueError(
                    f"layer {name} ({layer.describe()}) already belongs to a network; "
                    "give this one layer.copy()"
                )
            layer.owned = True
        self.layers: dict[str, Layer] = named
        stack = list(named.values())
        for layer, following in pairwise(stack):
            layer.keeps_output = following.saves_input
        stack[-1].keeps_output = False
        self.training = True
        self._threads = 1
        self._batch: tuple[Shape, Shape] | None = None
        self._pack(np.dtype(np.float32))

    # Running

    def forward(self, x: Array) -> Array:
        """Return the output for the batch ``x`` (N, C, H, W) or (N, F), of the network's dtype.

        Raises:
            ValueError: if shape or dtype do not fit, naming the layer that refuses.
        """
        x = np.asarray(x)
        rows = self._checked_output_shapes(x)
        y = np.empty((len(x), *rows[-1][2]), self.dtype)
        uniforms = self._drawn(len(x), rows) if self.training else {}

        def run(stack: Stack, start: int, stop: int) -> None:
            for name, drawn in uniforms.items():
                stack.layers[name].uniforms = batch_last(drawn[start:stop])
            value = stack.enter("x", batch_last(x[start:stop]))
            for layer in stack.layers.values():
                value = layer.forward(value)
            y[start:stop] = batch_first(value)

        self._batch = None
        self._shards.split(len(x), self.training)
        self._shards.run(run)
        self._batch = (x.shape, y.shape)
        return y

    __call__ = forward

    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        """Return the gradient of the last ``forward``'s input, and compute all parameters'.

        Args:
            dy: gradient with respect to the output, of the output's shape.
            input_gradient: False skips the input's gradient and returns None.

        Raises:
            RuntimeError: if there was no ``forward``.
            ValueError: if ``dy`` has another shape than the output.
        """
        if self._batch is None:
            raise RuntimeError("backward was called before forward; run forward first")
        x_shape, y_shape = self._batch
        dy = np.asarray(dy, self.dtype)
        if dy.shape != y_shape:
            raise ValueError(f"backward takes a gradient of shape {y_shape}, got {dy.shape}")
        dx = np.empty(x_shape, self.dtype) if input_gradient else None

        def run(stack: Stack, start: int, stop: int) -> None:
            first, *others = stack.layers.values()
            value = stack.enter("dy", batch_last(dy[start:stop]))
            for layer in reversed(others):
                value = cast(Array, layer.backward(value))
            result = first.backward(value, input_gradient)
            if dx is not None and result is not None:
                dx[start:stop] = batch_first(result)

        self._shards.run(run)
        self._shards.add_up_gradients()
        return dx

    def predict(self, x: Array, batch_size: int = 1000) -> Array:
        """Return class indices (N,) for ``x``, in evaluation mode, ``batch_size`` at a time."""
        was_training = self.training
        self.eval()
        try:
            parts = [
                self.forward(x[i : i + batch_size]).argmax(axis=1)
                for i in range(0, len(x), batch_size)
            ]
        finally:
            self.train(was_training)
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    # State

    def parameters(self) -> dict[str, Array]:
        """Return the live parameters by torch's names, such as ``c1.weight``."""
        return self._named("parameters")

    def gradients(self) -> dict[str, Array]:
        """Return the live gradients of the last ``backward``, under the parameters' names."""
        return self._named("gradients")

    def buffers(self) -> dict[str, Array]:
        """Return the live buffers (batch-norm statistics) by torch's names."""
        return self._named("buffers")

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters and buffers, in torch's order and under torch's keys."""
        return {name: array.copy() for name, array in self._live_state().items()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Copy ``state`` in.

        Raises:
            ValueError: for a missing or extra key, or another shape or dtype; then nothing at
                all has been changed.
        """
        live = self._live_state()
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

    def reset_parameters(self, seed: int | np.random.Generator) -> None:
        """Draw new parameters from torch's default distributions, layer by layer."""
        rng = np.random.default_rng(seed)
        for layer in self.layers.values():
            layer.reset_parameters(rng)

    def to(self, dtype: type | np.dtype) -> Self:
        """Convert parameters and statistics to float32 or float64 in place; return the network.

        Raises:
            ValueError: for any other dtype.
        """
        if np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise ValueError(f"a network is float32 or float64, not {np.dtype(dtype)}")
        self._pack(np.dtype(dtype))
        return self

    def copy(self) -> Self:
        """Return an independent network with the same layers, state and options."""
        twin = copy.copy(self)
        twin.layers = {name: layer.copy() for name, layer in self.layers.items()}
        for layer in twin.layers.values():
            layer.owned = True
        twin._pack(self.dtype)
        return twin

    def __deepcopy__(self, memo: dict) -> Self:
        return self.copy()

    # Modes

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode (evaluation, if ``mode`` is False); return the network."""
        self.training = mode
        for layer in self.layers.values():
            layer.training = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation mode: no dropout, running statistics; return the network."""
        return self.train(False)

    @property
    def threads(self) -> int:
        """Threads over which a batch is split; with more than one, BLAS should use one."""
        return self._threads

    @threads.setter
    def threads(self, count: int) -> None:
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"threads must be a whole number of at least 1, got {count!r}")
        self._threads = count
        self._make_shards()

    def worthwhile_threads(self, batch_shape: Shape, cores: int) -> int:
        """Return how many threads, 1 to ``cores``, pay off for batches of public shape (N, ...).

        Raises:
            ValueError: naming the first layer that cannot take such a batch.
        """
        samples, *sample_shape = batch_shape
        shapes = [shape for _, _, shape in self.output_shapes(tuple(sample_shape))]
        numbers = samples * sum(math.prod(shape) for shape in shapes)
        return max(1, min(cores, numbers // NUMBERS_PER_THREAD))

    # Description

    def output_shapes(self, input_shape: Shape) -> list[tuple[str, Layer, Shape]]:
        """Return (name, layer, one sample's output shape) for samples of shape ``input_shape``.

        Raises:
            ValueError: naming the first layer that cannot take its input.
        """
        rows = []
        shape = tuple(input_shape)
        for name, layer in self.layers.items():
            try:
                shape = layer.output_shape(shape)
            except ValueError as error:
                raise ValueError(f"{type(self).__name__}, layer {name}: {error}") from None
            rows.append((name, layer, shape))
        return rows

    def __repr__(self) -> str:
        rows = "".join(f"  ({n}): {layer.describe()}\n" for n, layer in self.layers.items())
        return f"{type(self).__name__}(\n{rows})"

    # Inside

    def _pack(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        size = sum(p.size for p in self.parameters().values())
        self.flat_parameters = np.empty(size, dtype)
        self.flat_gradients = np.zeros(size, dtype)
        for layer, name, view, gradient in self._views(self.flat_parameters, self.flat_gradients):
            view[...] = layer.parameters[name]
            layer.parameters[name], layer.gradients[name] = view, gradient
        for layer in self.layers.values():
            layer.forget()
            for name, array in layer.buffers.items():
                if np.issubdtype(array.dtype, np.floating):
                    layer.buffers[name] = array.astype(dtype)
        self._make_shards()

    def _views(
        self, flat: Array, flat_gradients: Array
    ) -> Iterator[tuple[Layer, str, Array, Array]]:
        """Each parameter's place in the flat vectors: (layer, name, view, gradient's view)."""
        start = 0
        for layer in self.layers.values():
            for name, array in layer.parameters.items():
                place = slice(start, start + array.size)
                start += array.size
                shape = array.shape
                yield layer, name, flat[place].reshape(shape), flat_gradients[place].reshape(shape)

    def _make_shards(self) -> None:
        self._shards = Shards(self.layers, self.flat_gradients, self._views, self._threads)
        self._batch = None

    def _drawn(self, samples: int, rows: list[tuple[str, Layer, Shape]]) -> dict[str, Array]:
        """Random numbers of the layers that need some, drawn in the layers' order."""
        drawn = ((name, layer.draw_uniforms((samples, *shape))) for name, layer, shape in rows)
        return {name: uniforms for name, uniforms in drawn if uniforms is not None}

    def _checked_output_shapes(self, x: Array) -> list[tuple[str, Layer, Shape]]:
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
        return self.output_shapes(x.shape[1:])

    def _named(self, kind: str) -> dict[str, Array]:
        return {
            f"{layer_name}.{name}": array
            for layer_name, layer in self.layers.items()
            for name, array in getattr(layer, kind).items()
        }

    def _live_state(self) -> dict[str, Array]:
        return {
            f"{layer_name}.{name}": array
            for layer_name, layer in self.layers.items()
            for name, array in (layer.parameters | layer.buffers).items()
        }
