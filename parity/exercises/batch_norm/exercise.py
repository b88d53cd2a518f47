"""Batch normalisation in torch, and the inputs on which yours is compared with it."""

from typing import Any

import numpy as np
import torch
from torch import nn


def pairs(solution: Any) -> Any:
    """Return (torch's layer, your layer, inputs). It is run in training and in evaluation mode."""
    torch.manual_seed(0)
    layer = nn.BatchNorm2d(3)
    with torch.no_grad():
        for values in layer.state_dict().values():
            if values.is_floating_point():
                values.uniform_(0.5, 2)
    x = np.random.default_rng(0).standard_normal((4, 3, 5, 4)).astype(np.float32)
    return layer, solution.BatchNorm2d(3), x
