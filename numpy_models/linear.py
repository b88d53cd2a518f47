"""Fully connected layer."""

from __future__ import annotations

import numpy as np

from numpy_models.geometry import as_pair
from numpy_models.layer import Array, Layer, Shape, uniform_fan_in


class Linear(Layer):
    """y = W x + b for features (F_in, N), as ``torch.nn.Linear``.

    Parameters: ``weight`` (out_features, in_features), ``bias`` (out_features,).

    Raises:
        ValueError: if the input is not (N, in_features).
    """

    saves_input = True

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features = as_pair(
            (in_features, out_features), "(in_features, out_features)", 1
        )
        self._add_parameter("weight", (out_features, in_features))
        if bias:
            self._add_parameter("bias", (out_features,))
        self.reset_parameters(np.random.default_rng())

    def describe(self) -> str:
        return f"Linear({self.in_features}, {self.out_features})"

    def reset_parameters(self, rng: np.random.Generator) -> None:
        for array in self.parameters.values():
            array[...] = uniform_fan_in(rng, array.shape, self.in_features)

    def output_shape(self, shape: Shape) -> Shape:
        if shape != (self.in_features,):
            raise ValueError(
                f"Linear expects {self.in_features} features a sample, got samples of shape "
                f"{shape}; put a Flatten before it or change in_features"
            )
        return (self.out_features,)

    def forward(self, x: Array) -> Array:
        self._saved = x  # the input, for the weight gradient
        y = self._output(x, (self.out_features, x.shape[1]))
        np.matmul(self.parameters["weight"], x, out=y)
        if "bias" in self.parameters:
            y += self.parameters["bias"][:, None]
        return y

    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        x = self._recall()
        np.matmul(dy, x.T, out=self.gradients["weight"])
        if "bias" in self.gradients:
            dy.sum(axis=1, out=self.gradients["bias"])
        if not input_gradient:
            return None
        return np.matmul(self.parameters["weight"].T, dy, out=self._gradient(dy, x.shape))
