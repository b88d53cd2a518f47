"""R1's future work on its LeNet-5: ReLU or SiLU for tanh, batch norm, residual connections.

The report only names these. Assumed: batch norm comes between a convolution and its activation.
Because no layer here keeps its input's shape, a residual connection needs a layer of its own, a 3x3
convolution after each pooling's activation. Without options this is ``lenet5_tanh`` with different
names for the activations.
"""

from typing import Literal

from numpy_models.activations import Flatten, ReLU, SiLU, Tanh
from numpy_models.avgpool import AvgPool2d
from numpy_models.batchnorm import BatchNorm2d
from numpy_models.conv import Conv2d
from numpy_models.layer import Layer
from numpy_models.linear import Linear
from numpy_models.residual import Residual
from numpy_models.sequential import Sequential

_ACTIVATIONS: dict[str, type[Layer]] = {"tanh": Tanh, "relu": ReLU, "silu": SiLU}


class LeNet5Variant(Sequential):
    """Images (N, 1, 32, 32) to logits (N, 10).

    Args:
        activation: "tanh" (R1), "relu" or "silu".
        batch_norm: normalise after every convolution.
        residual: a residual convolution after every pooling.

    Raises:
        ValueError: for another activation.
    """

    def __init__(
        self,
        activation: Literal["tanh", "relu", "silu"] = "tanh",
        batch_norm: bool = False,
        residual: bool = False,
    ) -> None:
        if activation not in _ACTIVATIONS:
            known = ", ".join(_ACTIVATIONS)
            raise ValueError(f"LeNet5Variant: activation is one of {known}, not {activation!r}")
        act = _ACTIVATIONS[activation]
        layers: dict[str, Layer | None] = {
            "c1": Conv2d(1, 6, kernel_size=5),  # (N, 6, 28, 28)
            "bn1": BatchNorm2d(6) if batch_norm else None,
            "act1": act(),
            "s2": AvgPool2d(2),  # (N, 6, 14, 14)
            "act2": act(),
            "res2": Residual(Conv2d(6, 6, kernel_size=3, padding=1)) if residual else None,
            "c3": Conv2d(6, 16, kernel_size=5),  # (N, 16, 10, 10)
            "bn3": BatchNorm2d(16) if batch_norm else None,
            "act3": act(),
            "s4": AvgPool2d(2),  # (N, 16, 5, 5)
            "act4": act(),
            "res4": Residual(Conv2d(16, 16, kernel_size=3, padding=1)) if residual else None,
            "c5": Conv2d(16, 120, kernel_size=5),  # (N, 120, 1, 1)
            "bn5": BatchNorm2d(120) if batch_norm else None,
            "act5": act(),
            "flatten": Flatten(),  # (N, 120)
            "f6": Linear(120, 84),  # (N, 84)
            "act6": act(),
            "out": Linear(84, 10),  # (N, 10)
        }
        super().__init__(**{name: layer for name, layer in layers.items() if layer is not None})
