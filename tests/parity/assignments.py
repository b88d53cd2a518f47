"""Assignments for the tests of grading."""

import numpy as np
import torch
from torch import nn

INPUTS = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)


def linear(solution):
    torch.manual_seed(0)
    return nn.Linear(4, 3), solution.Linear(4, 3), INPUTS


def failing(solution):
    raise OSError("no such weights")


number = 3
