"""Your network: write its layers, and put them together."""

import numpy as np


class Network:
    """The network of exercise.py.

    Attributes:
        layers: your layers by torch's names, in order: conv, relu1, pool, flatten, fc1, relu2, fc2.
            Each has the five methods below, so that each can also be compared with torch alone.
            Kernels are (out, in, height, width), matrices (out, in), and all arrays float32.
    """

    def __init__(self) -> None:
        self.layers: dict = {}

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return logits (N, 10) for images (N, 1, 10, 10); leave x unchanged."""
        raise NotImplementedError("Network.forward is yours to write")

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Return dL/dx given dL/dlogits, and set every parameter's gradient."""
        raise NotImplementedError("Network.backward is yours to write")

    def parameters(self) -> dict[str, np.ndarray]:
        """Return conv.weight, conv.bias, fc1.weight and so on: the arrays, not copies."""
        return self._named("parameters")

    def gradients(self) -> dict[str, np.ndarray]:
        """Return the parameters' gradients, under the parameters' names."""
        return self._named("gradients")

    def buffers(self) -> dict[str, np.ndarray]:
        """Return what is saved but not trained: nothing here."""
        return self._named("buffers")

    def _named(self, method: str) -> dict[str, np.ndarray]:
        return {
            f"{name}.{own}": array
            for name, layer in self.layers.items()
            for own, array in getattr(layer, method)().items()
        }
