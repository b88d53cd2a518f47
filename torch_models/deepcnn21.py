"""The 21-layer network of report R2: six convolutions, two affine layers, dropout on the logits.

Assumptions where the report is silent or contradicts itself: the hidden width is 50; the fourth
convolution is followed by the ReLU that its abstract counts; depth 5 leaves out the last
convolution, depth 4 the whole third block, so the first affine layer takes 512 features. The
report's dropout is the original kind, without rescaling in training; the inverted kind is optional.
"""

from __future__ import annotations

from torch import Tensor, nn

from torch_models.dropout import Dropout, Kind
from torch_models.pooling import MaxPool2d, Ties


class DeepCNN21(nn.Module):
    """Map images (N, 1, 28, 28) to logits (N, 10).

    Args:
        hidden: width of the first affine layer.
        depth: number of convolutions, 4, 5 or 6 (the report's ablation).
        dropout: "original" (the report's) or "inverted", for both dropout layers.
        ties: which of several equal maxima receive a pooling window's gradient, "first" or "all".

    Raises:
        ValueError: if an argument is outside the values above.
    """

    def __init__(
        self, hidden: int = 50, depth: int = 6, dropout: Kind = "original", ties: Ties = "first"
    ) -> None:
        super().__init__()
        if depth not in (4, 5, 6):
            raise ValueError(f"DeepCNN21: depth must be 4, 5 or 6 convolutions, not {depth!r}")
        if hidden < 1:
            raise ValueError(f"DeepCNN21: hidden must be at least 1, not {hidden!r}")
        self.depth = depth
        self.conv1 = nn.Conv2d(1, 16, 3)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(16, 16, 3)
        self.relu2 = nn.ReLU()
        self.pool1 = MaxPool2d(2, ties=ties)
        self.conv3 = nn.Conv2d(16, 32, 3)
        self.relu3 = nn.ReLU()
        self.conv4 = nn.Conv2d(32, 32, 3)
        self.relu4 = nn.ReLU()
        self.pool2 = MaxPool2d(2, ties=ties)
        if depth >= 5:
            self.conv5 = nn.Conv2d(32, 64, 3, padding=1)
            self.relu5 = nn.ReLU()
        if depth == 6:
            self.conv6 = nn.Conv2d(64, 64, 3, padding=1)
            self.relu6 = nn.ReLU()
        if depth >= 5:
            self.pool3 = MaxPool2d(2, ties=ties)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(512 if depth == 4 else 256, hidden)
        self.relu7 = nn.ReLU()
        self.dropout1 = Dropout(0.5, kind=dropout)
        self.fc2 = nn.Linear(hidden, 10)
        self.dropout2 = Dropout(0.5, kind=dropout)

    def forward(self, x: Tensor) -> Tensor:  # (N, 1, 28, 28)
        """Return the logits, (N, 10)."""
        x = self.relu1(self.conv1(x))  # (N, 16, 26, 26)
        x = self.relu2(self.conv2(x))  # (N, 16, 24, 24)
        x = self.pool1(x)  # (N, 16, 12, 12)
        x = self.relu3(self.conv3(x))  # (N, 32, 10, 10)
        x = self.relu4(self.conv4(x))  # (N, 32, 8, 8)
        x = self.pool2(x)  # (N, 32, 4, 4)
        if self.depth >= 5:
            x = self.relu5(self.conv5(x))  # (N, 64, 4, 4)
        if self.depth == 6:
            x = self.relu6(self.conv6(x))  # (N, 64, 4, 4)
        if self.depth >= 5:
            x = self.pool3(x)  # (N, 64, 2, 2)
        x = self.flatten(x)  # (N, 256), or (N, 512) at depth 4
        x = self.dropout1(self.relu7(self.fc1(x)))  # (N, hidden)
        return self.dropout2(self.fc2(x))  # (N, 10)
