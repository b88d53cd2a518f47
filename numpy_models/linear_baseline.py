"""R0's baseline from an earlier exercise: one linear layer on the pixels, 7,850 parameters.

The report states only its iterations and its accuracy; a bias is assumed.
"""

from numpy_models.activations import Flatten
from numpy_models.linear import Linear
from numpy_models.sequential import Sequential


class LinearBaseline(Sequential):
    """Images (N, 1, 28, 28) to logits (N, 10)."""

    def __init__(self) -> None:
        super().__init__(
            flatten=Flatten(),  # (N, 784)
            out=Linear(784, 10),  # (N, 10)
        )
