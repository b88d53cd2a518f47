"""What is given to a comparison: refused in one sentence, or taken for its numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from parity import (
    Pair,
    ParityError,
    Trajectory,
    assert_parity,
    assert_trajectory,
    compare,
    localise,
)
from parity.networks import pair, recipe
from tests.parity.handwritten import Dense


@pytest.mark.parametrize(
    ("module", "network", "inputs", "message"),
    [
        (nn.Linear(4, 3), object(), np.ones((2, 4)), "needs the methods forward, parameters"),
        (nn.Linear(4, 3), Dense(4, 3), np.ones((2, 4), np.float32), "inputs are float32 but"),
        (nn.Linear(4, 3), Dense(4, 3), np.ones((2, 4), np.float16), "a float32 or float64"),
        (nn.Linear(4, 3), Dense(4, 3), np.ones((2, 4), int), "cannot run on inputs of shape"),
        (nn.Linear(4, 3), Dense(4, 3), np.full((2, 4), np.nan), "nothing would be compared"),
        (nn.Linear(4, 2), Dense(4, 3), np.ones((2, 4)), "weight has shape"),
        (nn.Dropout(), Dense(4, 3), np.ones((2, 4)), "weight is only in NumPy"),
    ],
)
def test_bad_input_is_one_sentence(module, network, inputs, message) -> None:
    with pytest.raises(ParityError, match=message) as caught:
        compare(module, network, inputs)
    assert "\n" not in str(caught.value)


def test_tensors_are_taken_for_their_numbers() -> None:
    made, again = pair("example_unit"), pair("example_unit")
    inputs = torch.from_numpy(made.inputs).requires_grad_()
    targets = torch.from_numpy(made.targets)
    assert type(Pair(made.torch_module, made.numpy_network, inputs, targets).inputs) is np.ndarray
    losses = {n: getattr(made, n) for n in ("torch_criterion", "numpy_criterion")}
    for judge in (assert_parity, compare, localise, train):
        told = [
            str(judge(each.torch_module, each.numpy_network, *given, **losses))
            for each, given in [(made, (made.inputs, made.targets)), (again, (inputs, targets))]
        ]
        assert told[0] == told[1], judge


def train(module, network, inputs, targets, **_: object) -> Trajectory:
    how = recipe("SGD", {"lr": 0.1})
    return assert_trajectory(module, network, [(inputs, targets)], how, probes=1)


def test_a_tensor_numpy_cannot_hold_is_one_sentence() -> None:
    half = torch.ones(2, 4, dtype=torch.bfloat16)
    with pytest.raises(ParityError, match=r"cannot hold a tensor of torch\.bfloat16: give one of"):
        compare(nn.Linear(4, 3), Dense(4, 3), half)


def test_unused_parameter_is_one_sentence(rng) -> None:
    class Unused(nn.Linear):
        def forward(self, x):
            return x @ self.weight.T

    with pytest.raises(ParityError, match="torch gives no gradient for bias"):
        compare(Unused(4, 3), Dense(4, 3), rng.standard_normal((2, 4)))


def test_a_mutated_input_and_a_wrong_dtype_are_reported(rng) -> None:
    class Rude(Dense):
        def forward(self, x):
            y = super().forward(x.copy())
            x += 1
            return y.astype(np.float32)

    notes = {
        c.tensor: c.note for c in compare(nn.Linear(4, 3), Rude(4, 3), np.ones((2, 4))).failures
    }
    assert "changed" in notes["inputs"]
    assert "dtype float64 in torch, float32 in NumPy" in notes["output"]
