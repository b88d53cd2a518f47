"""A torch module against itself: under autocast, in channels_last, compiled."""

import numpy as np
import torch
from torch import nn

from parity.sides import TorchModule


def network():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 5)
    return nn.Sequential(*layers)


INPUTS = np.random.default_rng(0).random((4, 3, 8, 8), np.float32)


def autocast():
    side = TorchModule(network(), autocast=torch.bfloat16)
    return {
        "torch_module": network(),
        "numpy_network": side,
        "inputs": INPUTS,
        "precision": "bfloat16",
    }


def channels_last():
    return network(), TorchModule(network(), memory_format=torch.channels_last), INPUTS


def compiled(backend="inductor"):
    return network(), TorchModule(torch.compile(network(), backend=backend)), INPUTS
