"""Fully connected layer.

Per sample y = W x + b. Summed over the batch, with samples as columns,

    dL/dx = Wᵀ · dy,   dL/dW = dy · xᵀ,   dL/db = the sum of dy's columns.
"""

from __future__ import annotations

import numpy as np

from numpy_models.geometry import as_pair
from numpy_models.layer import Array, Layer, Shape, uniform_fan_in


class Linear(Layer):
    """y = W x + b for features, (N, in_features) to (N, out_features), as ``torch.nn.Linear``.

    Parameters: ``weight`` (out_features, in_features), ``bias`` (out_features,).

    Raises:
        ValueError: if the input is not (N, in_features).
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features = as_pair(
            (in_features, out_features), "(in_features, out_features)", 1
        )
        self._add_parameter("weight", (out_features, in_features))
        if bias:
            self._add_parameter("bias", (out_features,))
        self.reset_parameters(np.random.default_rng())

    def __repr__(self) -> str:
        return f"Linear({self.in_features}, {self.out_features})"

    def reset_parameters(self, seed: int | np.random.Generator) -> None:
        rng = np.random.default_rng(seed)
        for array in self._parameters.values():
            array[...] = uniform_fan_in(rng, array.shape, self.in_features)

    def output_shape(self, shape: Shape) -> Shape:
        if shape != (self.in_features,):
            raise ValueError(
                f"Linear expects {self.in_features} features per sample, got samples of shape "
                f"{shape}; put a Flatten before it or change in_features"
            )
        return (self.out_features,)

    def forward_batch_last(self, x: Array) -> Array:
        self._saved = x
        y = self._parameters["weight"] @ x
        if "bias" in self._parameters:
            y += self._parameters["bias"][:, None]
        return y

    def backward_batch_last(self, dy: Array, input_gradient: bool = True) -> Array | None:
        x = self._saved
        np.matmul(dy, x.T, out=self._gradients["weight"])
        if "bias" in self._gradients:
            dy.sum(axis=1, out=self._gradients["bias"])
        return self._parameters["weight"].T @ dy if input_gradient else None
