"""Layers applied in sequence: y = f_k(… f_2(f_1(x))).

Backward is the chain rule: the last layer turns dy = dL/dy into the gradient of its own input,
which is the dy of the layer before it, and so on down to the first.
"""

from __future__ import annotations

from itertools import pairwise
from textwrap import indent

import numpy as np

from numpy_models.activations import ReLU
from numpy_models.layer import Array, Layer, Shape
from numpy_models.maxpool import MaxPool2d
from numpy_models.state import joined


class Sequential(Layer):
    """A stack of layers, itself a layer, as ``torch.nn.Sequential``.

    If any of them is float64, all become float64.

    Args:
        *layers: layers named "0", "1", ... as torch names them.
        **named_layers: layers under their own names.

    Raises:
        ValueError: if a layer already belongs to another network, or there is no layer.
    """

    def __init__(self, *layers: Layer, **named_layers: Layer) -> None:
        super().__init__()
        named = {str(i): layer for i, layer in enumerate(layers)} | named_layers
        if not named:
            raise ValueError(f"{type(self).__name__} needs at least one layer")
        for name, layer in named.items():
            if not isinstance(layer, Layer):
                raise ValueError(f"{type(self).__name__} takes layers, got {layer!r} as {name}")
            if layer.is_part or sum(layer is other for other in named.values()) > 1:
                raise ValueError(
                    f"layer {name} ({type(layer).__name__}) already belongs to a network; "
                    "give this one layer.copy()"
                )
        self.layers = named
        self._pack(np.result_type(*(layer.dtype for layer in named.values())))

    def forward_batch_last(self, x: Array) -> Array:
        for layer in self._order():
            x = layer.forward_batch_last(x)
        return x

    def backward_batch_last(self, dy: Array, input_gradient: bool = True) -> Array | None:
        first, *others = self._order()
        gradient: Array | None = dy
        for layer in reversed(others):
            assert gradient is not None
            gradient = layer.backward_batch_last(gradient)
        assert gradient is not None
        return first.backward_batch_last(gradient, input_gradient)

    def _order(self) -> list[Layer]:
        """Return the layers in the order of computation: ReLU after max pooling, on fewer elements.

        max(relu(a), relu(b)) = relu(max(a, b)), and where that is positive, both orders send the
        gradient to the same element; elsewhere, to none. No bit changes. Layers whose methods have
        been replaced on the instance, to observe them, stay in their places.
        """
        layers = list(self.layers.values())
        for i, (layer, following) in enumerate(pairwise(layers)):
            kinds = type(layer), type(following)
            watched = "forward_batch_last" in vars(layer) | vars(following)
            if kinds == (ReLU, MaxPool2d) and not watched:
                layers[i : i + 2] = following, layer
        return layers

    def output_shape(self, shape: Shape) -> Shape:
        return self.output_shapes(shape)[-1][2]

    def output_shapes(self, shape: Shape) -> list[tuple[str, Layer, Shape]]:
        rows: list[tuple[str, Layer, Shape]] = []
        for name, layer in self.layers.items():
            try:
                inner = layer.output_shapes(shape)
            except ValueError as error:
                raise ValueError(f"{type(self).__name__}, layer {name}: {error}") from None
            rows += [(joined(name, leaf), member, out) for leaf, member, out in inner]
            shape = rows[-1][2]
        return rows

    def __repr__(self) -> str:
        rows = "".join(f"({name}): {layer!r}\n" for name, layer in self.layers.items())
        return f"{type(self).__name__}(\n{indent(rows, '  ')})"
