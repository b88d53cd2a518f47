"""R0's LeNet-5: ReLU and max pooling, 61,706 parameters.

Deviations: R0 sends the full gradient to every tied maximum of a pooling window, which is
``ties="all"``; the default is torch's first maximum. Softmax is part of the loss.
"""

from numpy_models.activations import Flatten, ReLU
from numpy_models.conv import Conv2d
from numpy_models.linear import Linear
from numpy_models.maxpool import MaxPool2d, Ties
from numpy_models.sequential import Sequential


class LeNet5ReLU(Sequential):
    """Images (N, 1, 28, 28) to logits (N, 10)."""

    def __init__(self, ties: Ties = "first") -> None:
        super().__init__(
            c1=Conv2d(1, 6, kernel_size=5, padding=2),  # (N, 6, 28, 28)
            relu1=ReLU(),
            s2=MaxPool2d(2, ties=ties),  # (N, 6, 14, 14)
            c3=Conv2d(6, 16, kernel_size=5),  # (N, 16, 10, 10)
            relu3=ReLU(),
            s4=MaxPool2d(2, ties=ties),  # (N, 16, 5, 5)
            flatten=Flatten(),  # (N, 400)
            c5=Linear(400, 120),  # (N, 120)
            relu5=ReLU(),
            f6=Linear(120, 84),  # (N, 84)
            relu6=ReLU(),
            out=Linear(84, 10),  # (N, 10)
        )
