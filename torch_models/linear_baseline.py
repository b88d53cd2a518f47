"""One linear layer on the pixels: the baseline of an earlier exercise that report R0 names.

The report states only its iterations and its accuracy; a bias is assumed.
"""

from __future__ import annotations

from torch import Tensor, nn


class LinearBaseline(nn.Module):
    """Map images (N, 1, 28, 28) to logits (N, 10); 7,850 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.out = nn.Linear(784, 10)

    def forward(self, x: Tensor) -> Tensor:  # (N, 1, 28, 28)
        """Return the logits, (N, 10)."""
        x = self.flatten(x)  # (N, 784)
        return self.out(x)  # (N, 10)
