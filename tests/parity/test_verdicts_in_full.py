"""Verdicts word by word, on a pair whose every number is known: y = w·x, element by element.

Each number is one product, which every processor rounds alike, and so every budget is the same
everywhere.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from numpy_models import BatchNorm2d
from parity import Comparison, DisagreementError, TensorCheck, assert_parity, compare
from parity.choices import Decision


class Times(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([3.0, 5.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x


class Scale:
    """y = w·x, with one fault."""

    def __init__(self, fault: str = "") -> None:
        self.fault, self.w = fault, np.zeros(2, np.float32)
        self.dw = np.zeros_like(self.w)
        self.x: Any = None
        self.first: Any = None
        self.pending = self.backwards = 0

    def forward(self, x: np.ndarray) -> Any:
        self.pending += 1
        if self.fault == "raises" or (self.fault == "tires" and self.backwards == 2):
            raise ValueError("out of order")
        if self.fault != "keeps the first input" or self.x is None:
            self.x = x.copy()
        if self.first is None:
            self.first = self.w.copy()
        y = x * (self.first if self.fault == "keeps its first weights" else self.w)
        if self.fault == "changes its input":
            x += 1
        if self.fault == "NaN":
            y[:] = np.nan
        kind = {"float16": np.float16, "float64": np.float64}.get(self.fault, np.float32)
        return y[0] if self.fault == "another shape" else y.astype(kind)

    def backward(self, dy: np.ndarray) -> Any:
        stale, self.pending = self.pending > 1, 0
        self.backwards += 1
        if self.fault == "clips" or (self.fault == "clips what is stale" and stale):
            dy = np.clip(dy, -100, 100)
        self.dw = (dy * self.x).sum(0)
        if self.fault == "keeps the first input":
            self.x = None
        if self.fault == "doubles":
            self.dw *= 2
        if self.fault == "float64":
            self.dw = self.dw.astype(np.float64)
        dx = dy * self.w
        if self.fault == "doubles" or (self.fault == "spoils what is stale" and stale):
            dx *= np.float32(1.125)
        if self.fault == "spoils what is stale" and stale:
            self.dw[:] = np.inf
        if self.fault == "changes its weight":
            self.w += 1
        return None if self.fault == "no gradient of the input" else dx

    def parameters(self) -> dict[str, np.ndarray]:
        return {"weight": self.w}

    def gradients(self) -> dict[str, Any]:
        kept = self.fault != "forgets" or self.backwards < 3
        found: dict[str, Any] = {"weight": self.dw} if kept else {}
        if self.fault == "no gradient of the weight":
            return {}
        return {**found, "bias": self.dw} if self.fault == "a gradient too many" else found

    def buffers(self) -> dict[str, np.ndarray]:
        return {}


X = np.array([[2.0, 0.5]], np.float32)
RAISED = "raised ValueError at test_verdicts_in_full.py:44: out of order"
MISSING = "it was there at first, and is missing now"
SCALED, STALE = "upstream gradient × 1024", "after two calls of forward, on other weights"
CLIPPED = (
    "gradient of input: worst at [0, 1]: torch -4.90263557, NumPy -0.48828125, error 4.41, "
    "tolerance 1.75e-06 (2.52e+06 of it used)",
    "gradient of weight: worst at [1]: torch -0.490263581, NumPy -0.048828125, error 0.441, "
    "tolerance 1.08e-07 (4.1e+06 of it used)",
)


def test_agreement_in_full() -> None:
    held = str(assert_parity(Times(), Scale(), X))
    assert held == (
        "Times in float32, training mode: 3 tensors agree, closest call: Times, gradient of input: "
        "worst at [0, 1]: torch -4.90263557, NumPy -4.90263557, error 2.38e-07, tolerance 1.75e-06 "
        "(0.136 of it used)\n"
        f"  also compared: {SCALED}; after two calls of forward, the weights changed between them; "
        "one sample with exact zeros; three samples more with large values"
    )
    mine = str(assert_parity(Times(), Scale(), X, train=False, name="mine", vary=False))
    (line,) = mine.splitlines()
    assert line.startswith("mine in float32, evaluation mode: 3 tensors agree, closest call: mine,")


@pytest.mark.parametrize(
    ("fault", "tensors", "checks"),
    [
        ("raises", 1, [f"output: Scale.forward {RAISED}"]),
        ("tires", 4, [f"{SCALED}, output: Scale.forward {RAISED}"]),
        (
            "keeps the first input",
            4,
            [
                f"{STALE}, gradient of weight: worst at [1]: torch -0.490263581, NumPy -1.96105433,"
                " error 1.47, tolerance 1.08e-07 (1.37e+07 of it used)"
            ],
        ),
        (
            "keeps its first weights",
            3,
            [
                "output: worst at [0, 0]: torch 6, NumPy 10, error 4, tolerance 2.15e-06 (1.86e+06 "
                "of it used)"
            ],
        ),
        ("changes its input", 4, ["inputs: changed by NumPy's forward or backward"]),
        ("changes its weight", 4, ["weight: changed by NumPy's forward or backward"]),
        ("NaN", 3, ["output: at [0, 0] torch has 6.0 and NumPy nan"]),
        ("float16", 3, ["output: dtype float32 in torch, float16 in NumPy"]),
        ("another shape", 1, ["output: shape (1, 2) in torch, (2,) in NumPy"]),
        ("clips", 5, [f"{SCALED}, {told}" for told in CLIPPED]),
        ("clips what is stale", 5, [f"{SCALED}, {STALE}, {told}" for told in CLIPPED]),
        (
            "doubles",
            3,
            [
                "gradient of input: worst at [0, 1]: torch -4.90263557, NumPy -5.51546478, error "
                "0.613, tolerance 1.75e-06 (3.5e+05 of it used)",
                "gradient of weight: worst at [1]: torch -0.490263581, NumPy -0.980527163, error "
                "0.49, tolerance 1.08e-07 (4.56e+06 of it used)",
            ],
        ),
        (
            "spoils what is stale",
            5,
            [
                f"{STALE}, gradient of input: worst at [0, 1]: torch -4.90263557, NumPy "
                "-5.51546478, error 0.613, tolerance 1.75e-06 (3.5e+05 of it used)",
                f"{STALE}, gradient of weight: at [0] torch has 0.20593535900115967 and NumPy inf",
            ],
        ),
        (
            "no gradient of the input",
            3,
            [
                "gradient of input: NumPy's backward returns none (meant? expect="
                '{"gradient of input": "absent"})'
            ],
        ),
        ("no gradient of the weight", 3, ["gradient of weight: only torch has it"]),
        (
            "forgets",
            4,
            [f"{SCALED}, gradient of weight: it was there at first, and is missing now"],
        ),
        ("a gradient too many", 4, ["gradient of bias: only NumPy has it"]),
    ],
)
def test_disagreement_in_full(fault, tensors, checks) -> None:
    with pytest.raises(DisagreementError) as caught:
        assert_parity(Times(), Scale(fault), X)
    assert str(caught.value).splitlines() == [
        f"culprit: Times, the only layer: Times, {checks[-1]}",
        f"Times in float32, training mode: {len(checks)} of {tensors} tensors disagree",
        *(f"  Times, {check}" for check in checks),
    ]
    assert caught.value.culprits == ["Times"]
    assert caught.value.finding.raised is (fault == "raises")


def test_float64_for_float32_in_full() -> None:
    with pytest.raises(DisagreementError) as caught:
        assert_parity(Times(), Scale("float64"), X)
    told = "NumPy gives float64 for float32, and is judged by value all the same: output and 1 more"
    assert str(caught.value).splitlines() == [
        f"culprit: dtype, and nothing else: {told}",
        "Times in float32, training mode: 1 of 4 tensors disagree",
        f"  Times, dtype: {told}",
    ]


class Clipping(BatchNorm2d):
    def backward(self, dy: np.ndarray, input_gradient: bool = True) -> Any:
        return super().backward(np.clip(dy, -100, 100), input_gradient)


def test_statistics_of_one_run_are_not_those_that_the_next_begins_with() -> None:
    images = np.random.default_rng(0).standard_normal((3, 2, 4, 4)).astype(np.float32)
    found = compare(nn.BatchNorm2d(2), Clipping(2), images)
    gradients = [f"gradient of {name}" for name in ("input", "weight", "bias")]
    assert [check.tensor for check in found.failures] == gradients
    assert {check.network for check in found.failures} == {f"BatchNorm2d, {SCALED}"}


def test_what_a_verdict_says_of_rounding_and_of_what_cannot_be_judged() -> None:
    right = TensorCheck("net", "", "output", (0,), 1.0, 1.0, 1e-7, 1e-6)
    wrong = TensorCheck("net", "fc", "weight", (2, 1), 1.5, 2.5, 1.0, 0.5)
    vague = TensorCheck("net", "c", "bias", (0,), 0, 0, 0.5, 1.0, unjudged="it could be anything")
    decision = Decision("pool", "window", 2, 1e-7, 2e-7, 3)
    held = Comparison("net", "float64", False, [right], [decision], ["output"], notes=["a note"])
    assert str(held) == (
        f"net in float64, evaluation mode: 1 tensors agree, closest call: {right}\n"
        "  rounding decides 2 windows of pool (margin at most 1e-07, granted 2e-07); what depends "
        "on that (output) is granted their effect\n"
        "  a note"
    )
    failed = replace(held, checks=[right, wrong, vague])
    assert str(failed) == (
        "net in float64, evaluation mode: 1 of 3 tensors disagree\n"
        f"  {wrong}\n"
        "  cannot be judged in float64: net, layer c, bias: it could be anything\n"
        "  a note"
    )
    assert str(wrong) == (
        "net, layer fc, weight: worst at [2, 1]: torch 1.5, NumPy 2.5, error 1, tolerance 0.5 (2 "
        "of it used)"
    )
    assert (failed.failures, failed.unjudged, failed.worst) == ([wrong], [vague], wrong)
    worse = replace(wrong, budget=0.25)
    output = replace(wrong, layer="", tensor="output[1]")
    assert replace(held, checks=[right, wrong, worse, wrong]).evidence is worse
    assert replace(held, checks=[right, output, worse]).evidence is output
    assert not replace(held, checks=[right, vague]).passed
    assert (wrong.label, output.label) == ("weight of fc", "output[1]")
    assert replace(right, budget=0.0).share == float("inf")
    assert replace(right, error=1e-6).passed
