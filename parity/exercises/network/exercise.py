"""A small convolutional network in torch, and the images on which yours is compared with it."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from parity import Pair


class Network(nn.Module):
    """Convolution, ReLU, max pooling and two fully connected layers, for 10×10 images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, kernel_size=3)
        self.relu1 = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(64, 12)
        self.relu2 = nn.ReLU()
        self.fc2 = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, 10) for images (N, 1, 10, 10)."""
        x = self.pool(self.relu1(self.conv(x)))  # (N, 4, 4, 4)
        return self.fc2(self.relu2(self.fc1(self.flatten(x))))


def pairs(solution: Any) -> Pair:
    """Return torch's network, yours, and images. One mode is enough: both compute the same."""
    torch.manual_seed(0)
    images = np.random.default_rng(0).standard_normal((3, 1, 10, 10)).astype(np.float32)
    return Pair(Network(), solution.Network(), images, train=True)
