"""LeNet-5 with tanh and average pooling, after report R1.

As in the report, a tanh follows each pooling as well as each convolution. The data pipeline resizes
the 28×28 digits to 32×32; softmax is part of the loss.
"""

from __future__ import annotations

from torch import Tensor, nn


class LeNet5Tanh(nn.Module):
    """Map images (N, 1, 32, 32) to logits (N, 10); 61,706 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 6, 5)
        self.tanh1 = nn.Tanh()
        self.s2 = nn.AvgPool2d(2)
        self.tanh2 = nn.Tanh()
        self.c3 = nn.Conv2d(6, 16, 5)
        self.tanh3 = nn.Tanh()
        self.s4 = nn.AvgPool2d(2)
        self.tanh4 = nn.Tanh()
        self.c5 = nn.Conv2d(16, 120, 5)
        self.tanh5 = nn.Tanh()
        self.flatten = nn.Flatten()
        self.f6 = nn.Linear(120, 84)
        self.tanh6 = nn.Tanh()
        self.out = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:  # (N, 1, 32, 32)
        """Return the logits, (N, 10)."""
        x = self.tanh1(self.c1(x))  # (N, 6, 28, 28)
        x = self.tanh2(self.s2(x))  # (N, 6, 14, 14)
        x = self.tanh3(self.c3(x))  # (N, 16, 10, 10)
        x = self.tanh4(self.s4(x))  # (N, 16, 5, 5)
        x = self.tanh5(self.c5(x))  # (N, 120, 1, 1)
        x = self.flatten(x)  # (N, 120)
        x = self.tanh6(self.f6(x))  # (N, 84)
        return self.out(x)  # (N, 10)
