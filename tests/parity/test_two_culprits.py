"""Where two layers are wrong by themselves, both are named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import numpy_models
from parity import assert_parity
from parity.protocol import DisagreementError


class Doubled(numpy_models.Linear):
    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        self._gradients["bias"] *= 2
        return dx


def test_both_are_named() -> None:
    torch.manual_seed(0)
    sizes = ((5, 4), (4, 6), (6, 3))
    kinds = (Doubled, numpy_models.Linear, Doubled)
    network = numpy_models.Sequential(*(k(*s) for k, s in zip(kinds, sizes, strict=True)))
    inputs = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)
    with pytest.raises(DisagreementError) as caught:
        assert_parity(nn.Sequential(*(nn.Linear(*s) for s in sizes)), network, inputs)
    assert caught.value.culprits == ["0", "2"]
    named = [line for line in str(caught.value).splitlines() if line.startswith("culprit: ")]
    assert [line.split()[1] for line in named] == ["0", "2"]
