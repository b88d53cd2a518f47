"""Softmax cross-entropy in torch, and the logits on which yours is compared with it."""

from typing import Any

import numpy as np
from torch import nn

from parity import Pair
from parity.protocol import Identity


def pairs(solution: Any) -> dict[str, Pair]:
    """Return the pairs of losses by name; logits are (N, classes), targets class indices (N,)."""
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((6, 10)).astype(np.float32)
    targets = rng.integers(0, 10, 6)
    criterion, yours = nn.CrossEntropyLoss(), solution.CrossEntropyLoss()
    return {
        name: Pair(nn.Identity(), Identity(), inputs, targets, criterion, yours, train=True)
        for name, inputs in {"small logits": logits, "large logits": 200 * logits}.items()
    }
