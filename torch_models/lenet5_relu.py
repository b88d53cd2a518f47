"""LeNet-5 with ReLU and max pooling, after report R0.

The report pads its 28×28 input to 32×32; here C1 has a padding of 2 instead. Softmax is part of the
loss, so the network returns logits. Deviations from torch are options: ``ties="all"`` is the
report's max-pooling gradient. Initial weights are torch's unless the caller sets the report's.
"""

from __future__ import annotations

from torch import Tensor, nn

from torch_models.pooling import MaxPool2d, Ties


class LeNet5ReLU(nn.Module):
    """Map images (N, 1, 28, 28) to logits (N, 10); 61,706 parameters.

    Args:
        ties: which of several equal maxima receive a pooling window's gradient, "first" or "all".
    """

    def __init__(self, ties: Ties = "first") -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 6, 5, padding=2)
        self.relu1 = nn.ReLU()
        self.s2 = MaxPool2d(2, ties=ties)
        self.c3 = nn.Conv2d(6, 16, 5)
        self.relu3 = nn.ReLU()
        self.s4 = MaxPool2d(2, ties=ties)
        self.flatten = nn.Flatten()
        self.c5 = nn.Linear(400, 120)
        self.relu5 = nn.ReLU()
        self.f6 = nn.Linear(120, 84)
        self.relu6 = nn.ReLU()
        self.out = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:  # (N, 1, 28, 28)
        """Return the logits, (N, 10)."""
        x = self.relu1(self.c1(x))  # (N, 6, 28, 28)
        x = self.s2(x)  # (N, 6, 14, 14)
        x = self.relu3(self.c3(x))  # (N, 16, 10, 10)
        x = self.s4(x)  # (N, 16, 5, 5)
        x = self.flatten(x)  # (N, 400)
        x = self.relu5(self.c5(x))  # (N, 120)
        x = self.relu6(self.f6(x))  # (N, 84)
        return self.out(x)  # (N, 10)
