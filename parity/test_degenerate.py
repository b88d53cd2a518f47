"""Every network on inputs that no training set should hold, in both modes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import numpy_models
import torch_models
from numpy_models import CrossEntropyLoss
from parity import ParityError, assert_parity, compare, follow, localise
from parity.__main__ import main
from parity.networks import NetworkCase, network_cases

pytestmark = pytest.mark.kernels

CASES = [case for case in network_cases() if not case.arguments]  # each architecture once
Kind = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def with_values(*values: float) -> Kind:
    def make(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        x = rng.standard_normal(shape)
        x.reshape(shape[0], -1)[0, rng.choice(x[0].size, len(values), replace=False)] = values
        return x

    return make


def digits(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """scikit-learn's real 8×8 digits, enlarged by repetition into the middle of a blank image."""
    from sklearn.datasets import load_digits

    images = load_digits().images[: shape[0]] / 16
    image = np.zeros(shape)
    image[:, 0, 2:26, 2:26] = images.repeat(3, axis=1).repeat(3, axis=2)
    return image


INPUTS: dict[str, Kind] = {
    "blank": lambda rng, shape: np.zeros(shape),
    "constant": lambda rng, shape: np.full(shape, 0.7),
    "one constant each": lambda rng, shape: np.ones(shape) * rng.random((shape[0], 1, 1, 1)),
    "real digits": digits,
    "denormals": lambda rng, shape: rng.standard_normal(shape) * 1e-40,
    "infinity": with_values(np.inf),
    "both infinities": with_values(np.inf, -np.inf),
    "NaN": with_values(np.nan),
    "huge": lambda rng, shape: rng.standard_normal(shape) * 1e15,
    "overflowing": lambda rng, shape: rng.standard_normal(shape) * 3e38,
}


def pair(case: NetworkCase):
    return (
        torch_models.build(case.name, **case.arguments),
        numpy_models.build(case.name, **case.arguments),
    )


def modes() -> Iterator[Any]:
    """Each network in training mode, and in evaluation mode those that then compute otherwise."""
    for case in CASES:
        yield pytest.param(case, True, id=f"{case}-train")
        layers = pair(case)[0].modules()
        if any(type(layer).__name__ in ("BatchNorm2d", "Dropout") for layer in layers):
            yield pytest.param(case, False, id=f"{case}-eval")


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize(("case", "train"), [*modes()])
def test_inputs(case: NetworkCase, kind: str, train: bool, rng) -> None:
    with np.errstate(over="ignore"):
        inputs = INPUTS[kind](rng, (3, *case.input)).astype(np.float32)
    losses = {"torch_criterion": nn.CrossEntropyLoss(), "numpy_criterion": CrossEntropyLoss()}
    module, network = pair(case)
    targets = rng.integers(0, 10, 3)
    assert_parity(module, network, inputs, targets, train=train, vary=False, **losses)


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_batch_of_one(case: NetworkCase, train: bool, rng) -> None:
    inputs = rng.random((1, *case.input)).astype(np.float32)
    assert_parity(*pair(case), inputs, train=train, vary=False)


@pytest.mark.parametrize("shape", [(0, 1, 28, 28), ()])
def test_no_sample_is_refused_and_nobody_accused(shape: tuple[int, ...]) -> None:
    module, network = torch_models.build("lenet5_bn"), numpy_models.build("lenet5_bn")
    inputs = np.zeros(shape, np.float32)
    one = np.zeros((2, 1, 28, 28), np.float32)
    batches = [(one, np.zeros(2, np.int64)), (inputs, np.zeros(0, np.int64))]
    plans = [
        lambda: compare(module, network, inputs),
        lambda: localise(module, network, inputs),
        lambda: follow(module, network, batches, recipe=None),
    ]
    for plan in plans:
        with pytest.raises(ParityError, match=r"inputs of shape \(.*\) hold no sample"):
            plan()


def test_an_empty_batch_on_the_command_line(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["check", "parity.networks:pair", "name=lenet5_bn", "batch=0"]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("parity: inputs of shape (0, 1, 28, 28) hold no sample")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_very_large_logits(case: NetworkCase, rng) -> None:
    module, network = pair(case)
    with torch.no_grad():
        *_, last = (p for name, p in module.named_parameters() if name.endswith("weight"))
        last *= 1e6
    inputs, targets = rng.random((4, *case.input)).astype(np.float32), rng.integers(0, 10, 4)
    losses = {"torch_criterion": nn.CrossEntropyLoss(), "numpy_criterion": CrossEntropyLoss()}
    assert_parity(module, network, inputs, targets, vary=False, **losses)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_size_that_does_not_tile_is_taken_or_refused_by_both(case: NetworkCase, rng) -> None:
    module, network = pair(case)
    for height, width in [(29, 31), (33, 30), (27, 28)]:
        inputs = rng.random((2, 1, height, width)).astype(np.float32)
        try:
            with torch.no_grad():
                module(torch.from_numpy(inputs))
        except RuntimeError:
            with pytest.raises(ValueError, match=f"{type(network).__name__}, layer "):
                network.forward(inputs)
        else:
            name = f"{case} at {height}x{width}"
            assert_parity(module, network, inputs, vary=False, name=name)
