"""The pairs that faults are planted in: the project's networks, and small odd ones.

The odd ones have what the networks lack: windows that overlap, padding, strides that leave rows
over, square weights, exact ties.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR

import numpy_models as ours
import torch_models as theirs
from parity.faults.record import Scene

STEPS = 6

Layers = dict[str, tuple[str, dict[str, Any]]]

_SGD: tuple[str, dict[str, Any]] = ("SGD", {"lr": 0.05})

_TINY: Layers = {
    "c1": ("Conv2d", {"in_channels": 2, "out_channels": 4, "kernel_size": 3, "padding": 1}),
    "relu1": ("ReLU", {}),
    "s2": ("MaxPool2d", {"kernel_size": 3, "stride": 2, "padding": 1}),
    "c3": ("Conv2d", {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "stride": 2}),
    "s4": ("AvgPool2d", {"kernel_size": 2, "stride": 1, "padding": 1}),
    "tanh4": ("Tanh", {}),
    "flatten": ("Flatten", {}),
    "f5": ("Linear", {"in_features": 54, "out_features": 12}),
    "f6": ("Linear", {"in_features": 12, "out_features": 12}),
    "relu6": ("ReLU", {}),
    "out": ("Linear", {"in_features": 12, "out_features": 10}),
}
_CONVOLUTIONS: Layers = {
    "c1": ("Conv2d", {"in_channels": 2, "out_channels": 3, "kernel_size": 3, "stride": 2}),
    "relu1": ("ReLU", {}),
    "c2": ("Conv2d", {"in_channels": 3, "out_channels": 4, "kernel_size": (1, 3)}),
    "s3": ("MaxPool2d", {"kernel_size": 2}),
    "flatten": ("Flatten", {}),
    "out": ("Linear", {"in_features": 8, "out_features": 10}),
}
_LAYERS: dict[str, tuple[tuple[int, ...], Layers]] = {
    "overlapping": ((2, 10, 10), _TINY),
    "strided": ((2, 12, 12), _CONVOLUTIONS),
    "ties": (
        (2, 8, 8),
        {
            "s1": ("MaxPool2d", {"kernel_size": 2}),
            "relu1": ("ReLU", {}),
            "flatten": ("Flatten", {}),
            "out": ("Linear", {"in_features": 32, "out_features": 10}),
        },
    ),
    "padded maxima": (
        (2, 8, 8),
        {
            "tanh1": ("Tanh", {}),
            "s2": ("MaxPool2d", {"kernel_size": 3, "stride": 2, "padding": 1}),
            "flatten": ("Flatten", {}),
            "out": ("Linear", {"in_features": 32, "out_features": 10}),
        },
    ),
    "odd pooling": (
        (2, 7, 9),
        {
            "tanh1": ("Tanh", {}),
            "s2": ("MaxPool2d", {"kernel_size": 2}),
            "s3": ("AvgPool2d", {"kernel_size": 2, "padding": 1, "count_include_pad": False}),
            "flatten": ("Flatten", {}),
            "out": ("Linear", {"in_features": 12, "out_features": 10}),
        },
    ),
    "dropout": (
        (1, 6, 6),
        {
            "flatten": ("Flatten", {}),
            "f1": ("Linear", {"in_features": 36, "out_features": 12}),
            "drop1": ("Dropout", {"p": 0.3, "kind": "inverted"}),
            "f2": ("Linear", {"in_features": 12, "out_features": 12}),
            "drop2": ("Dropout", {"p": 0.2, "kind": "original"}),
            "out": ("Linear", {"in_features": 12, "out_features": 10}),
        },
    ),
    "large logits": (
        (1, 4, 4),
        {"flatten": ("Flatten", {}), "out": ("Linear", {"in_features": 16, "out_features": 10})},
    ),
    "perceptron": (
        (1, 4, 4),
        {
            "flatten": ("Flatten", {}),
            "f1": ("Linear", {"in_features": 16, "out_features": 12}),
            "tanh1": ("Tanh", {}),
            "out": ("Linear", {"in_features": 12, "out_features": 10}),
        },
    ),
}
_OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "momentum": ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    "nesterov": ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    "dampening": ("SGD", {"lr": 0.05, "momentum": 0.8, "dampening": 0.3}),
    "Adagrad": ("Adagrad", {"lr": 0.02, "eps": 1e-3, "lr_decay": 0.01}),
    "Adam": ("Adam", {"lr": 0.01, "eps": 1e-4, "weight_decay": 0.01}),
    "Adam uncorrected": ("Adam", {"lr": 1e-3, "eps": 1e-7, "eps_mode": "uncorrected"}),
    "Adam inside root": ("Adam", {"lr": 0.01, "eps": 1e-6, "eps_mode": "inside_root"}),
}


def scene(name: str) -> Scene:
    """Return a new scene: a network's name, one of the odd ones, or an optimizer's."""
    torch.manual_seed(0)
    optimizer = _OPTIMIZERS.get(name, _SGD)
    if name in _OPTIMIZERS or name in ("smoothed loss", "squared loss"):
        shape, layers = _LAYERS["perceptron"]
    elif name in _LAYERS:
        shape, layers = _LAYERS[name]
    else:
        stem = name.partition(", ")[0]
        arguments: dict[str, Any] = {"depth": 4} if stem == "deepcnn21" else {}
        network, module = ours.build(stem, **arguments), theirs.build(stem, **arguments)
        size = 32 if name == "lenet5_tanh" else 28
        return _scene(module, network, (1, size, size), name, optimizer)
    module = nn.Sequential()
    for layer, (kind, arguments) in layers.items():
        module.add_module(layer, _home(theirs, nn, kind)(**arguments))
    stack = {layer: getattr(ours, kind)(**arguments) for layer, (kind, arguments) in layers.items()}
    return _scene(module, ours.Sequential(**stack), shape, name, optimizer)


def _scene(
    module: nn.Module,
    network: Any,
    shape: tuple[int, ...],
    name: str,
    optimizer: tuple[str, dict[str, Any]],
) -> Scene:
    kind, options = optimizer
    _unsettle(module)
    return Scene(
        module,
        network,
        _batches(name, shape),
        _losses(name),
        partial(_home(theirs, torch.optim, kind), **options),
        partial(getattr(ours, kind), **options),
        partial(StepLR, step_size=1, gamma=0.5),
        partial(ours.StepLR, step_size=1, gamma=0.5),
    )


def _unsettle(module: nn.Module) -> None:
    """Move normalisation off its initial ones and zeros, behind which faults could hide."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            state = layer.state_dict()
            for name, tensor in state.items():
                if name in ("weight", "running_var"):
                    tensor.uniform_(0.5, 1.5)
                elif name in ("bias", "running_mean"):
                    tensor.normal_(0, 0.3)


def _batches(name: str, shape: tuple[int, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    batches = []
    for step in range(STEPS):
        size = 3 if step == STEPS - 1 else 4  # the last batch of an epoch is smaller
        inputs = rng.standard_normal((size, *shape))
        if name == "ties":
            inputs = rng.integers(-2, 2, (size, *shape)).astype(np.float64)
        if name == "large logits":
            inputs *= 100
        if name.endswith(", even"):  # one grey all over but for rounding, and one with a grain
            inputs = 0.7 + inputs * np.array([0, 1e-6] * 2)[:size, None, None, None]
        if name.endswith(", faint"):  # variances as small as a normalisation's ε
            inputs *= 0.03
        if name == "squared loss":
            targets: np.ndarray = rng.standard_normal((size, 10)).astype(np.float32)
        else:
            targets = rng.integers(0, 10, size)
        batches.append((inputs.astype(np.float32), targets))
    return batches


def _losses(name: str) -> tuple[Callable[..., Any], Any]:
    if name == "squared loss":
        return nn.MSELoss(), ours.MSELoss()
    smoothing = 0.1 if name == "smoothed loss" else 0.0
    return nn.CrossEntropyLoss(label_smoothing=smoothing), ours.CrossEntropyLoss(smoothing)


def _home(first: Any, second: Any, kind: str) -> Any:
    return getattr(first if hasattr(first, kind) else second, kind)
