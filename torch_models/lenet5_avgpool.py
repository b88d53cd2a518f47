"""LeNet-5 with ReLU and average pooling, after report R3.

The report's table is followed as printed. Its bias gradient is summed over positions and divided by
the batch size, which is what a mean loss gives.
"""

from __future__ import annotations

from torch import Tensor, nn


class LeNet5AvgPool(nn.Module):
    """Map images (N, 1, 28, 28) to logits (N, 10); 61,706 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 6, 5, padding=2)
        self.relu1 = nn.ReLU()
        self.s2 = nn.AvgPool2d(2)
        self.c3 = nn.Conv2d(6, 16, 5)
        self.relu3 = nn.ReLU()
        self.s4 = nn.AvgPool2d(2)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.relu5 = nn.ReLU()
        self.flatten = nn.Flatten()
        self.f6 = nn.Linear(120, 84)
        self.relu6 = nn.ReLU()
        self.out = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:  # (N, 1, 28, 28)
        """Return the logits, (N, 10)."""
        x = self.relu1(self.c1(x))  # (N, 6, 28, 28)
        x = self.s2(x)  # (N, 6, 14, 14)
        x = self.relu3(self.c3(x))  # (N, 16, 10, 10)
        x = self.s4(x)  # (N, 16, 5, 5)
        x = self.relu5(self.c5(x))  # (N, 120, 1, 1)
        x = self.flatten(x)  # (N, 120)
        x = self.relu6(self.f6(x))  # (N, 84)
        return self.out(x)  # (N, 10)
