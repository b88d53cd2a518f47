"""The pairs that faults are planted in: the project's networks, and small odd ones.

The odd ones have what the networks lack: windows that overlap, padding, strides that leave rows
over, square weights, exact ties.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR

import numpy_models as ours
import torch_models as theirs
from parity.faults.record import Scene
from parity.steps import Recipe

STEPS = 6

#: The shape of a sample, and the layers as either side makes them.
_SMALL: dict[str, tuple[tuple[int, ...], Callable[[Any], dict[str, Any]]]] = {
    "overlapping": (
        (2, 10, 10),
        lambda side: {
            "c1": side.Conv2d(2, 4, 3, padding=1),
            "relu1": side.ReLU(),
            "s2": side.MaxPool2d(3, stride=2, padding=1),
            "c3": side.Conv2d(4, 6, 3, stride=2),
            "s4": side.AvgPool2d(2, stride=1, padding=1),
            "tanh4": side.Tanh(),
            "flatten": side.Flatten(),
            "f5": side.Linear(54, 12),
            "f6": side.Linear(12, 12),
            "relu6": side.ReLU(),
            "out": side.Linear(12, 10),
        },
    ),
    "strided": (
        (2, 12, 12),
        lambda side: {
            "c1": side.Conv2d(2, 3, 3, stride=2),
            "relu1": side.ReLU(),
            "c2": side.Conv2d(3, 4, (1, 3)),
            "s3": side.MaxPool2d(2),
            "flatten": side.Flatten(),
            "out": side.Linear(8, 10),
        },
    ),
    "ties": (
        (2, 8, 8),
        lambda side: {
            "s1": side.MaxPool2d(2),
            "relu1": side.ReLU(),
            "flatten": side.Flatten(),
            "out": side.Linear(32, 10),
        },
    ),
    "padded maxima": (
        (2, 8, 8),
        lambda side: {
            "tanh1": side.Tanh(),
            "s2": side.MaxPool2d(3, stride=2, padding=1),
            "flatten": side.Flatten(),
            "out": side.Linear(32, 10),
        },
    ),
    "odd pooling": (
        (2, 7, 9),
        lambda side: {
            "tanh1": side.Tanh(),
            "s2": side.MaxPool2d(2),
            "s3": side.AvgPool2d(2, padding=1, count_include_pad=False),
            "flatten": side.Flatten(),
            "out": side.Linear(12, 10),
        },
    ),
    "dropout": (
        (1, 6, 6),
        lambda side: {
            "flatten": side.Flatten(),
            "f1": side.Linear(36, 12),
            "drop1": side.Dropout(0.3, kind="inverted"),
            "f2": side.Linear(12, 12),
            "drop2": side.Dropout(0.2, kind="original"),
            "out": side.Linear(12, 10),
        },
    ),
    "large logits": (
        (1, 4, 4),
        lambda side: {"flatten": side.Flatten(), "out": side.Linear(16, 10)},
    ),
    "perceptron": (
        (1, 4, 4),
        lambda side: {
            "flatten": side.Flatten(),
            "f1": side.Linear(16, 12),
            "tanh1": side.Tanh(),
            "out": side.Linear(12, 10),
        },
    ),
}
#: On the perceptron.
_OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "momentum": ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    "nesterov": ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    "dampening": ("SGD", {"lr": 0.05, "momentum": 0.8, "dampening": 0.3}),
    "Adagrad": ("Adagrad", {"lr": 0.02, "eps": 1e-3, "lr_decay": 0.01}),
    "Adam": ("Adam", {"lr": 0.01, "eps": 1e-4, "weight_decay": 0.01}),
    "Adam uncorrected": ("Adam", {"lr": 1e-3, "eps": 1e-7, "eps_mode": "uncorrected"}),
    "Adam inside root": ("Adam", {"lr": 0.01, "eps": 1e-6, "eps_mode": "inside_root"}),
}
_LOSSES: dict[str, tuple[str, dict[str, Any]]] = {
    "squared loss": ("MSELoss", {}),
    "smoothed loss": ("CrossEntropyLoss", {"label_smoothing": 0.1}),
}


def scene(name: str) -> Scene:
    """Return a new scene.

    Args:
        name: of a network, of a small one, or of an optimizer or a loss on the perceptron; then,
            after a comma, what is special: "even" or "faint" images, "varied" (so is the pair),
            "torch's own dropout", or "two epochs" between two falls of the rate.
    """
    torch.manual_seed(0)
    stem, _, special = name.partition(", ")
    small = _SMALL["perceptron"] if stem in _OPTIMIZERS | _LOSSES else _SMALL.get(stem)
    if small:
        shape, layers = small
        module: nn.Module = nn.Sequential()
        for layer, made in layers(SimpleNamespace(**vars(nn) | vars(theirs))).items():
            module.add_module(layer, made)
        network = ours.Sequential(**layers(ours))
    else:
        arguments: dict[str, Any] = {"depth": 4} if stem == "deepcnn21" else {}
        module, network = theirs.build(stem, **arguments), ours.build(stem, **arguments)
        shape = (1, 32, 32) if stem == "lenet5_tanh" else (1, 28, 28)
    if special == "torch's own dropout":
        module.drop1 = nn.Dropout(0.3)
    _unsettle(module)
    kind, options = _OPTIMIZERS.get(stem, ("SGD", {"lr": 0.05}))
    loss, settings = _LOSSES.get(stem, ("CrossEntropyLoss", {}))
    epochs = 2 if special == "two epochs" else 1
    recipe = Recipe(
        partial(getattr(theirs if hasattr(theirs, kind) else torch.optim, kind), **options),
        partial(getattr(ours, kind), **options),
        getattr(nn, loss)(**settings),
        getattr(ours, loss)(**settings),
        partial(StepLR, step_size=epochs, gamma=0.5),
        partial(ours.StepLR, step_size=epochs, gamma=0.5),
        epoch_steps=2 // epochs,
    )
    return Scene(module, network, _batches(stem, special, shape), recipe, special == "varied")


def _unsettle(module: nn.Module) -> None:
    """Move normalisation off its initial ones and zeros, behind which faults could hide."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for name, tensor in layer.state_dict().items():
                if name in ("weight", "running_var"):
                    tensor.uniform_(0.5, 1.5)
                elif name in ("bias", "running_mean"):
                    tensor.normal_(0, 0.3)


def _batches(
    stem: str, special: str, shape: tuple[int, ...]
) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    batches = []
    for size in [4] * (STEPS - 1) + [3]:  # the last batch of an epoch is smaller
        inputs = rng.standard_normal((size, *shape))
        if stem == "ties":
            inputs = rng.integers(-2, 2, (size, *shape)).astype(np.float64)
        if stem == "large logits":
            inputs *= 100
        if special == "even":  # one grey all over but for rounding, and one with a grain
            inputs = 0.7 + inputs * np.array([0, 1e-6] * 2)[:size, None, None, None]
        if special == "faint":  # variances as small as a normalisation's ε
            inputs *= 0.03
        if stem == "squared loss":
            targets: np.ndarray = rng.standard_normal((size, 10)).astype(np.float32)
        else:
            targets = rng.integers(0, 10, size)
        batches.append((inputs.astype(np.float32), targets))
    return batches
