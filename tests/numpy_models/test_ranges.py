"""Which numbers layers and optimizers take, at the edges, and the sentence about the others."""

from __future__ import annotations

import math

import pytest

from numpy_models import SGD, Adagrad, Adam, Dropout, Linear


@pytest.mark.parametrize(
    ("kind", "given", "sentence"),
    [
        (Adam, {"betas": (1, 0.9)}, r"betas must be two numbers in \[0, 1\), got \(1, 0.9\)"),
        (Adam, {"betas": (0.9, 1)}, r"betas must be two numbers in \[0, 1\), got \(0.9, 1\)"),
        (Adam, {"betas": (-0.1, 0)}, r"betas must be two numbers in \[0, 1\), got \(-0.1, 0\)"),
        (Adam, {"eps": -1e-9}, "eps must be a number >= 0, got -1e-09"),
        (Adagrad, {"eps": -1e-9}, "eps must be a number >= 0, got -1e-09"),
        (Adagrad, {"lr_decay": -0.1}, "lr_decay must be a number >= 0, got -0.1"),
        (SGD, {"lr": -0.1}, "lr must be a finite number >= 0, got -0.1"),
        (SGD, {"lr": math.inf}, "lr must be a finite number >= 0, got inf"),
        (SGD, {"lr": 1, "momentum": -0.1}, "momentum must be a number >= 0, got -0.1"),
        (SGD, {"lr": 1, "momentum": 1, "dampening": 1, "nesterov": True}, "nesterov needs"),
        (Dropout, {"p": 0.5, "kind": "none"}, "Dropout: kind must be .* got 'none'"),
    ],
)
def test_what_is_out_of_range_is_named(kind, given, sentence) -> None:
    layer = () if kind is Dropout else (Linear(2, 1),)
    with pytest.raises(ValueError, match=f"^{sentence}"):
        kind(*layer, **given)


def test_the_edges_of_the_ranges_are_taken() -> None:
    Adam(Linear(2, 1), lr=0, betas=(0, 0), eps=0)
    Adagrad(Linear(2, 1), lr=0, lr_decay=0, eps=0)
    SGD(Linear(2, 1), lr=0, momentum=0)
