"""R4's LeNet-5 with batch normalisation, 61,750 parameters and the running statistics.

The order is convolution, pooling, batch norm, ReLU. The report's decay of 0.9 is momentum 0.1 here.
It speaks of 32x32 inputs, but with its SAME padding only 28x28 gives the 120x1x1 that its first
linear layer needs. Whether the running variance is unbiased is not stated; torch's is. The report's
max-pool gradient is ``ties="all"``; the default is torch's.
"""

from numpy_models.activations import Flatten, ReLU
from numpy_models.batchnorm import BatchNorm2d
from numpy_models.conv import Conv2d
from numpy_models.linear import Linear
from numpy_models.maxpool import MaxPool2d, Ties
from numpy_models.sequential import Sequential


class LeNet5BN(Sequential):
    """Images (N, 1, 28, 28) to logits (N, 10)."""

    def __init__(self, ties: Ties = "first") -> None:
        super().__init__(
            c1=Conv2d(1, 6, kernel_size=5, padding=2),  # (N, 6, 28, 28)
            s2=MaxPool2d(2, ties=ties),  # (N, 6, 14, 14)
            bn2=BatchNorm2d(6, momentum=0.1),
            relu2=ReLU(),
            c3=Conv2d(6, 16, kernel_size=5),  # (N, 16, 10, 10)
            s4=MaxPool2d(2, ties=ties),  # (N, 16, 5, 5)
            bn4=BatchNorm2d(16, momentum=0.1),
            relu4=ReLU(),
            c5=Conv2d(16, 120, kernel_size=5),  # (N, 120, 1, 1)
            flatten=Flatten(),  # (N, 120)
            f6=Linear(120, 84),  # (N, 84)
            relu6=ReLU(),
            out=Linear(84, 10),  # (N, 10)
        )
