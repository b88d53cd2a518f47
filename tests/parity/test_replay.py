"""Reproductions in this process: what is kept, how small it becomes, and what has changed since."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import numpy_models
from parity import DisagreementError, ParityError, assert_parity
from parity.pair import load_pair
from parity.reproduction import Reproduction, load, record, replay, save

FACTORY = "tests.parity.factories:wrong"


@pytest.fixture
def made() -> Reproduction:
    with pytest.raises(DisagreementError) as caught:
        assert_parity(load_pair(FACTORY))
    found = record(caught.value.finding.setting, caught.value.culprits, FACTORY)
    assert found is not None
    return found


def test_a_saved_reproduction_is_the_same(made, tmp_path) -> None:
    save(made, tmp_path / "here.npz")
    again = load(tmp_path / "here.npz")
    for name in ("factory", "arguments", "layer", "message", "versions"):
        assert getattr(again, name) == getattr(made, name), name
    assert (again.task.train, again.task.seed) == (made.task.train, made.task.seed)
    for name in ("weights", "torch_tensors", "numpy_tensors"):
        ours, theirs = getattr(again, name), getattr(made, name)
        assert ours.keys() == theirs.keys()
        for key, array in theirs.items():
            np.testing.assert_array_equal(ours[key], array, strict=True)
    np.testing.assert_array_equal(again.task.inputs, made.task.arrays[""], strict=True)
    assert made.layer == "0"
    assert len(made.task.arrays[""]) == 1  # one sample is enough


def test_what_torch_gives_otherwise_than_it_did_is_measured(made) -> None:
    comparison, change = replay(made)
    assert ([check.tensor for check in comparison.failures], change) == (["gradient of bias"], 0.0)
    tensors = dict(made.torch_tensors)
    tensors["", "output"] = tensors["", "output"] + np.float32(0.25)
    tensors["", "gradient of weight"] = np.full((3, 4), np.nan, np.float32)
    tensors["", "more"] = np.ones(3, np.float32)
    tensors["", "gradient of bias"] = np.ones(7, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, change = replay(replace(made, torch_tensors=tensors))
    assert change == pytest.approx(0.25)


def test_what_no_longer_fits_is_told(made) -> None:
    for wrong, words in (
        (replace(made, layer="9"), "9"),
        (replace(made, weights={"weight": np.zeros((3, 4), np.float32)}), "no longer fit"),
        (
            replace(made, task=replace(made.task, inputs=(np.zeros((1, 4)), np.zeros(1)))),
            "inputs and",
        ),
    ):
        with pytest.raises(ParityError, match=words) as caught:
            replay(wrong)
        assert "\n" not in str(caught.value)


class Tagged(nn.Module):
    """Features, shifted by what is looked up for a whole number."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.table = nn.Linear(4, 3), nn.Embedding(5, 3)

    def forward(self, tag: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return self.line(x) + self.table(tag)


class NumpyTagged:
    """The same, whose backward leaves out the gradient that numbers have not."""

    def __init__(self, returned: str) -> None:
        self.line, self.returned = numpy_models.Linear(4, 3), returned
        self.table, self.d_table = np.zeros((5, 3), np.float32), np.zeros((5, 3), np.float32)

    def forward(self, tag: np.ndarray, x: np.ndarray) -> np.ndarray:
        self.tag = tag.copy()
        return self.line.forward(x) + self.table[tag]

    def backward(self, dy: np.ndarray):
        dx = self.line.backward(dy)
        self.d_table[...] = 0
        np.add.at(self.d_table, self.tag, dy)
        return {"alone": dx, "a tuple": (dx,), "by place": (None, dx), "none": (None, None)}[
            self.returned
        ]

    def parameters(self) -> dict[str, np.ndarray]:
        line = {f"line.{name}": array for name, array in self.line.parameters().items()}
        return {**line, "table.weight": self.table}

    def gradients(self) -> dict[str, np.ndarray]:
        line = {f"line.{name}": array for name, array in self.line.gradients().items()}
        return {**line, "table.weight": self.d_table}

    def buffers(self) -> dict[str, np.ndarray]:
        return {}


@pytest.mark.parametrize("returned", ["alone", "a tuple", "by place", "none"])
def test_the_one_gradient_of_several_inputs_may_be_alone(returned) -> None:
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 5, 6), rng.standard_normal((6, 4)).astype(np.float32)
    pair = Tagged(), NumpyTagged(returned), inputs
    if returned != "none":
        comparison = assert_parity(*pair)
        assert "gradient of input[1]" in {check.tensor for check in comparison.checks}
        return
    with pytest.raises(DisagreementError, match=r"gradient of input\[1\].* returns none"):
        assert_parity(*pair)
