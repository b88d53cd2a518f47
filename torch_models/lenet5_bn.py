"""LeNet-5 with batch normalisation, after report R4.

The report says 32×32, but its padded first convolution only fits 28×28, which is used here. Its
decay of 0.9 is torch's ``momentum=0.1``. Assumed, because the report is silent: eps is 1e-5 and the
running variance is unbiased, both as in torch. ``ties="all"`` is the report's max-pooling gradient.
"""

from __future__ import annotations

from torch import Tensor, nn

from torch_models.pooling import MaxPool2d, Ties


class LeNet5BN(nn.Module):
    """Map images (N, 1, 28, 28) to logits (N, 10); 61,750 parameters.

    Args:
        ties: which of several equal maxima receive a pooling window's gradient, "first" or "all".
    """

    def __init__(self, ties: Ties = "first") -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 6, 5, padding=2)
        self.s2 = MaxPool2d(2, ties=ties)
        self.bn2 = nn.BatchNorm2d(6, momentum=0.1)
        self.relu2 = nn.ReLU()
        self.c3 = nn.Conv2d(6, 16, 5)
        self.s4 = MaxPool2d(2, ties=ties)
        self.bn4 = nn.BatchNorm2d(16, momentum=0.1)
        self.relu4 = nn.ReLU()
        self.c5 = nn.Conv2d(16, 120, 5)
        self.flatten = nn.Flatten()
        self.f6 = nn.Linear(120, 84)
        self.relu6 = nn.ReLU()
        self.out = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:  # (N, 1, 28, 28)
        """Return the logits, (N, 10)."""
        x = self.s2(self.c1(x))  # (N, 6, 28, 28) -> (N, 6, 14, 14)
        x = self.relu2(self.bn2(x))  # (N, 6, 14, 14)
        x = self.s4(self.c3(x))  # (N, 16, 10, 10) -> (N, 16, 5, 5)
        x = self.relu4(self.bn4(x))  # (N, 16, 5, 5)
        x = self.c5(x)  # (N, 120, 1, 1), no activation
        x = self.flatten(x)  # (N, 120)
        x = self.relu6(self.f6(x))  # (N, 84)
        return self.out(x)  # (N, 10)
