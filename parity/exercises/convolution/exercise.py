"""Two convolutions in torch, and the inputs on which yours are compared with them."""

from typing import Any

import numpy as np
import torch
from torch import nn

from parity import Pair


def pairs(solution: Any) -> dict[str, Pair]:
    """Return the pairs by name. One mode is enough: both compute the same."""
    torch.manual_seed(0)
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 5)).astype(np.float32)
    padded = nn.Conv2d(3, 4, kernel_size=3, padding=1)
    strided = nn.Conv2d(3, 2, kernel_size=2, stride=2)
    yours = solution.Conv2d(3, 4, kernel_size=3, padding=1)
    your_strided = solution.Conv2d(3, 2, kernel_size=2, stride=2)
    return {
        "3x3, padding 1": Pair(padded, yours, x, train=True),
        "2x2, stride 2": Pair(strided, your_strided, x, train=True),
    }
