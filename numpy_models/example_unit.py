"""The example unit of R3's framework: a parity case, not a classifier."""

from numpy_models.activations import Flatten, ReLU
from numpy_models.batchnorm import BatchNorm2d
from numpy_models.conv import Conv2d
from numpy_models.maxpool import MaxPool2d
from numpy_models.sequential import Sequential


class ExampleUnit(Sequential):
    """Images (N, 1, 28, 28) to features (N, 196)."""

    def __init__(self) -> None:
        super().__init__(
            conv1=Conv2d(1, 4, kernel_size=3, padding=1),  # (N, 4, 28, 28)
            pool1=MaxPool2d(2),  # (N, 4, 14, 14)
            bn1=BatchNorm2d(4),
            relu1=ReLU(),
            conv2=Conv2d(4, 4, kernel_size=3, padding=1),  # (N, 4, 14, 14)
            pool2=MaxPool2d(2),  # (N, 4, 7, 7)
            flatten=Flatten(),  # (N, 196)
        )
