"""R1's LeNet-5: tanh after every convolution and after every average pooling, 61,706 parameters.

The input is the 28x28 image *resized* to 32x32, not padded. Softmax is part of the loss.
"""

from numpy_models.activations import Flatten, Tanh
from numpy_models.avgpool import AvgPool2d
from numpy_models.conv import Conv2d
from numpy_models.linear import Linear
from numpy_models.sequential import Sequential


class LeNet5Tanh(Sequential):
    """Images (N, 1, 32, 32) to logits (N, 10)."""

    def __init__(self) -> None:
        super().__init__(
            c1=Conv2d(1, 6, kernel_size=5),  # (N, 6, 28, 28)
            tanh1=Tanh(),
            s2=AvgPool2d(2),  # (N, 6, 14, 14)
            tanh2=Tanh(),
            c3=Conv2d(6, 16, kernel_size=5),  # (N, 16, 10, 10)
            tanh3=Tanh(),
            s4=AvgPool2d(2),  # (N, 16, 5, 5)
            tanh4=Tanh(),
            c5=Conv2d(16, 120, kernel_size=5),  # (N, 120, 1, 1)
            tanh5=Tanh(),
            flatten=Flatten(),  # (N, 120)
            f6=Linear(120, 84),  # (N, 84)
            tanh6=Tanh(),
            out=Linear(84, 10),  # (N, 10)
        )
