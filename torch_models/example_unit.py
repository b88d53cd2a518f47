"""The example unit of report R3's framework: two small convolutions around a batch normalisation.

It is a parity case, not a classifier: its 196 features have no head.
"""

from __future__ import annotations

from torch import Tensor, nn


class ExampleUnit(nn.Module):
    """Map images (N, 1, 28, 28) to features (N, 196); 196 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.pool1 = nn.MaxPool2d(2)
        self.bn1 = nn.BatchNorm2d(4)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(4, 4, 3, stride=1, padding=1)
        self.pool2 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()

    def forward(self, x: Tensor) -> Tensor:  # (N, 1, 28, 28)
        """Return the features, (N, 196)."""
        x = self.conv1(x)  # (N, 4, 28, 28)
        x = self.pool1(x)  # (N, 4, 14, 14)
        x = self.relu1(self.bn1(x))  # (N, 4, 14, 14)
        x = self.conv2(x)  # (N, 4, 14, 14)
        x = self.pool2(x)  # (N, 4, 7, 7)
        return self.flatten(x)  # (N, 196)
