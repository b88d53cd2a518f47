"""R2's 21-layer network: six 3x3 convolutions, dropout even on the logits.

Assumptions where the report is silent: ``hidden`` is 50; the ReLU after the fourth convolution,
missing from the pseudo-code, is included because the abstract counts seven; of the depth study's
networks, that of 5 convolutions drops the sixth with its ReLU, and that of 4 drops the whole third
block with its pooling (the study counts two poolings there), so ``fc1`` takes 512 features. Dropout
is the original kind, without rescaling in training; ``dropout="inverted"`` is torch's.
"""

from typing import Literal

from numpy_models.activations import Flatten, ReLU
from numpy_models.conv import Conv2d
from numpy_models.dropout import Dropout
from numpy_models.layer import Layer
from numpy_models.linear import Linear
from numpy_models.maxpool import MaxPool2d, Ties
from numpy_models.sequential import Sequential


class DeepCNN21(Sequential):
    """Images (N, 1, 28, 28) to logits (N, 10).

    Args:
        hidden: width of the hidden affine layer.
        depth: 4, 5 or 6 convolutions.
        dropout: "original" (R2) or "inverted" (torch).
        ties: max-pool backward rule, see :class:`numpy_models.MaxPool2d`.

    Raises:
        ValueError: for another depth, or a width below 1.
    """

    def __init__(
        self,
        hidden: int = 50,
        depth: int = 6,
        dropout: Literal["original", "inverted"] = "original",
        ties: Ties = "first",
    ) -> None:
        if depth not in (4, 5, 6):
            raise ValueError(f"DeepCNN21: depth must be 4, 5 or 6 convolutions, not {depth!r}")
        if hidden < 1:
            raise ValueError(f"DeepCNN21: hidden must be at least 1, not {hidden!r}")
        layers: dict[str, Layer] = {
            "conv1": Conv2d(1, 16, kernel_size=3),  # (N, 16, 26, 26)
            "relu1": ReLU(),
            "conv2": Conv2d(16, 16, kernel_size=3),  # (N, 16, 24, 24)
            "relu2": ReLU(),
            "pool1": MaxPool2d(2, ties=ties),  # (N, 16, 12, 12)
            "conv3": Conv2d(16, 32, kernel_size=3),  # (N, 32, 10, 10)
            "relu3": ReLU(),
            "conv4": Conv2d(32, 32, kernel_size=3),  # (N, 32, 8, 8)
            "relu4": ReLU(),
            "pool2": MaxPool2d(2, ties=ties),  # (N, 32, 4, 4)
        }
        if depth >= 5:
            layers["conv5"] = Conv2d(32, 64, kernel_size=3, padding=1)  # (N, 64, 4, 4)
            layers["relu5"] = ReLU()
        if depth == 6:
            layers["conv6"] = Conv2d(64, 64, kernel_size=3, padding=1)  # (N, 64, 4, 4)
            layers["relu6"] = ReLU()
        if depth >= 5:
            layers["pool3"] = MaxPool2d(2, ties=ties)  # (N, 64, 2, 2)
        features = 64 * 2 * 2 if depth >= 5 else 32 * 4 * 4
        super().__init__(
            **layers,
            flatten=Flatten(),  # (N, 256), or (N, 512) at depth 4
            fc1=Linear(features, hidden),  # (N, hidden)
            relu7=ReLU(),
            dropout1=Dropout(0.5, kind=dropout),
            fc2=Linear(hidden, 10),  # (N, 10)
            dropout2=Dropout(0.5, kind=dropout),
        )
