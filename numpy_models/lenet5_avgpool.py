"""R3's LeNet: ReLU and average pooling, 61,706 parameters. Softmax is part of the loss."""

from numpy_models.activations import Flatten, ReLU
from numpy_models.avgpool import AvgPool2d
from numpy_models.conv import Conv2d
from numpy_models.linear import Linear
from numpy_models.sequential import Sequential


class LeNet5AvgPool(Sequential):
    """Images (N, 1, 28, 28) to logits (N, 10)."""

    def __init__(self) -> None:
        super().__init__(
            c1=Conv2d(1, 6, kernel_size=5, padding=2),  # (N, 6, 28, 28)
            relu1=ReLU(),
            s2=AvgPool2d(2),  # (N, 6, 14, 14)
            c3=Conv2d(6, 16, kernel_size=5),  # (N, 16, 10, 10)
            relu3=ReLU(),
            s4=AvgPool2d(2),  # (N, 16, 5, 5)
            c5=Conv2d(16, 120, kernel_size=5),  # (N, 120, 1, 1)
            relu5=ReLU(),
            flatten=Flatten(),  # (N, 120)
            f6=Linear(120, 84),  # (N, 84)
            relu6=ReLU(),
            out=Linear(84, 10),  # (N, 10)
        )
