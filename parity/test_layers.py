"""Every layer over a table of configurations: outputs, gradients, buffers, nothing mutated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn

import numpy_models
import torch_models
from parity import compare


@dataclass(frozen=True)
class LayerCase:
    """One configuration of one layer.

    Attributes:
        kind: the layer's class name on both sides.
        shape: shape of the input, batch first.
        arguments: the constructor's arguments on both sides.
        data: "normal"; "integers", with ties and zeros; "spaced", distinct values away from zero
            and from each other; "non-finite", normal with infinities and a NaN.
    """

    kind: str
    shape: tuple[int, ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    data: Literal["normal", "integers", "spaced", "non-finite"] = "normal"

    def __str__(self) -> str:
        options = ",".join(f"{key}={value}" for key, value in self.arguments.items())
        return f"{self.kind}({options})-{'x'.join(map(str, self.shape))}-{self.data}".replace(
            " ", ""
        )

    def torch(self, rng: np.random.Generator) -> nn.Module:
        """Return the layer in an nn.Sequential, its parameters and statistics drawn at random."""
        home = torch_models if hasattr(torch_models, self.kind) else nn
        module = nn.Sequential(self._layer(home, nn)).double()
        with torch.no_grad():
            for name, tensor in module.state_dict().items():
                if name.endswith("running_var"):
                    tensor.copy_(torch.from_numpy(rng.uniform(0.5, 2, tuple(tensor.shape))))
                elif tensor.is_floating_point():
                    tensor.copy_(torch.from_numpy(rng.standard_normal(tuple(tensor.shape))))
        return module

    def numpy(self, dtype: Any) -> numpy_models.Sequential:
        """Return the layer in a NumPy Sequential of a dtype."""
        return numpy_models.Sequential(self._layer(numpy_models, numpy_models)).to(dtype)

    def _layer(self, home: Any, convolutions: Any) -> Any:
        if self.kind == "Residual":  # around a convolution, whose arguments it is given
            return home.Residual(convolutions.Conv2d(**self.arguments))
        return getattr(home, self.kind)(**self.arguments)

    def inputs(self, rng: np.random.Generator, dtype: Any) -> np.ndarray:
        """Return inputs of the case's shape and kind of data."""
        if self.data == "integers":
            return rng.integers(-1, 2, self.shape).astype(dtype)
        if self.data == "spaced":
            size = int(np.prod(self.shape))
            return ((rng.permutation(size) + 0.5) / size * 4 - 2).reshape(self.shape).astype(dtype)
        x = rng.standard_normal(self.shape)
        if self.data == "non-finite":
            places = rng.choice(x.size, 3, replace=False)
            x.flat[places] = np.inf, -np.inf, np.nan
        return x.astype(dtype)


def _sizes(channels: int, out: int, kernel: Any, **options: Any) -> dict[str, Any]:
    return {"in_channels": channels, "out_channels": out, "kernel_size": kernel, **options}


def _conv(shape: tuple[int, ...], out: int, kernel: Any, **options: Any) -> LayerCase:
    return LayerCase("Conv2d", shape, _sizes(shape[1], out, kernel, **options))


CONV = [
    _conv((3, 1, 28, 28), 6, 5, padding=2),
    _conv((3, 6, 14, 14), 16, 5),
    _conv((3, 16, 5, 5), 120, 5),
    _conv((2, 1, 28, 28), 16, 3),
    _conv((2, 16, 8, 8), 32, 3, padding=1),
    _conv((1, 2, 7, 5), 3, 3),
    _conv((2, 2, 7, 5), 3, 3, bias=False),
    _conv((2, 3, 9, 8), 2, 3, stride=2),
    _conv((2, 3, 9, 8), 2, 2, stride=3),
    _conv((2, 3, 6, 6), 4, 1),
    _conv((2, 3, 7, 7), 4, 1, stride=2),
    _conv((2, 1, 3, 3), 2, 3, padding=3),
    _conv((2, 2, 1, 1), 2, 3, padding=1),
    _conv((2, 2, 8, 9), 3, (2, 5)),
    _conv((2, 2, 8, 9), 3, (3, 2), stride=(1, 4), padding=(2, 0)),
    _conv((2, 2, 10, 7), 3, 4, stride=(3, 2), padding=(0, 1)),
]

_POOL: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((3, 4, 8, 8), {"kernel_size": 2}),
    ((1, 1, 6, 6), {"kernel_size": 2}),
    ((2, 3, 7, 9), {"kernel_size": 2}),
    ((2, 3, 7, 9), {"kernel_size": 2, "ceil_mode": True}),
    ((2, 3, 9, 9), {"kernel_size": 3, "stride": 2}),
    ((2, 3, 8, 9), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ((2, 3, 8, 9), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ((2, 3, 5, 5), {"kernel_size": 2, "stride": 2, "padding": 1, "ceil_mode": True}),
    ((2, 3, 9, 9), {"kernel_size": 2, "stride": 3}),
    ((2, 3, 9, 8), {"kernel_size": 2, "stride": 3, "ceil_mode": True}),
    ((2, 3, 6, 6), {"kernel_size": 3, "stride": 1}),
    ((2, 2, 7, 8), {"kernel_size": (3, 2), "stride": (1, 2)}),
    ((2, 2, 7, 8), {"kernel_size": (2, 4), "stride": (2, 3), "padding": (1, 2)}),
    ((2, 2, 5, 5), {"kernel_size": 1, "stride": 2}),
]
MAX_POOL = [
    LayerCase("MaxPool2d", shape, {**arguments, "ties": ties}, data)  # type: ignore[arg-type]
    for shape, arguments in _POOL
    for ties in ("first", "all")
    for data in ("normal", "integers")
]
AVG_POOL = [
    LayerCase("AvgPool2d", shape, {**arguments, "count_include_pad": include})
    for shape, arguments in _POOL
    for include in (True, False)
]
_NORM: list[dict[str, Any]] = [
    {},
    {"affine": False},
    {"track_running_stats": False},
    {"affine": False, "track_running_stats": False},
    {"momentum": 0.9},
    {"momentum": 1.0},
    {"momentum": 0.0},
    {"momentum": None},
    {"eps": 0.5},
]
BATCH_NORM = [
    LayerCase("BatchNorm2d", shape, {"num_features": shape[1], **arguments})
    for shape in [(4, 6, 14, 14), (3, 2, 1, 5), (1, 3, 4, 4), (7, 1, 1, 1)]
    for arguments in _NORM
]
SIMPLE = [
    LayerCase("Linear", (5, 7), {"in_features": 7, "out_features": 3}),
    LayerCase("Linear", (1, 7), {"in_features": 7, "out_features": 3, "bias": False}),
    LayerCase("Linear", (4, 1), {"in_features": 1, "out_features": 1}),
    LayerCase("Linear", (6, 400), {"in_features": 400, "out_features": 120}),
    LayerCase("Linear", (3, 5), {"in_features": 5, "out_features": 5}),
    LayerCase("ReLU", (3, 4, 5, 6)),
    LayerCase("ReLU", (3, 4, 5, 6), data="integers"),
    LayerCase("ReLU", (1, 9), data="integers"),
    LayerCase("Tanh", (3, 4, 5, 6)),
    LayerCase("Tanh", (2, 9), data="integers"),
    LayerCase("SiLU", (3, 4, 5, 6)),
    LayerCase("SiLU", (2, 9), data="integers"),
    LayerCase("Residual", (3, 4, 6, 5), _sizes(4, 4, 3, padding=1)),
    LayerCase("Residual", (1, 1, 7, 7), _sizes(1, 1, 5, padding=2)),
    LayerCase("Flatten", (3, 4, 5, 6)),
    LayerCase("Flatten", (1, 4, 1, 1)),
    LayerCase("Flatten", (3, 8)),
]
DROPOUT = [
    LayerCase("Dropout", shape, {"p": p, "kind": kind})
    for shape in [(4, 3, 5, 5), (6, 10), (1, 7)]
    for p in (0.0, 0.3, 0.5, 1.0)
    for kind in ("original", "inverted")
]
_ANY: list[tuple[str, dict[str, Any]]] = [
    ("Conv2d", _sizes(2, 3, 3)),
    ("Conv2d", _sizes(2, 3, 5, padding=2)),
    ("MaxPool2d", {"kernel_size": 2}),
    ("MaxPool2d", {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("AvgPool2d", {"kernel_size": 2}),
    ("BatchNorm2d", {"num_features": 2}),
    ("ReLU", {}),
    ("Tanh", {}),
    ("SiLU", {}),
    ("Residual", _sizes(2, 2, 3, padding=1)),
    ("Flatten", {}),
]
NON_FINITE = [LayerCase(kind, (3, 2, 6, 6), options, "non-finite") for kind, options in _ANY]
LAYERS = CONV + MAX_POOL + AVG_POOL + BATCH_NORM + SIMPLE + DROPOUT + NON_FINITE
MODAL = BATCH_NORM + DROPOUT


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", LAYERS, ids=str)
def test_training(case: LayerCase, dtype, rng) -> None:
    module, network, inputs = case.torch(rng), case.numpy(dtype), case.inputs(rng, dtype)
    comparison = compare(module, network, inputs, vary=False, name=str(case))
    assert comparison.passed, str(comparison)


@pytest.mark.parametrize(
    "case", {c.kind: c for c in LAYERS if c.data == "normal"}.values(), ids=str
)
def test_variations_of_the_inputs(case: LayerCase, rng) -> None:
    module, network = case.torch(rng), case.numpy(np.float32)
    comparison = compare(module, network, case.inputs(rng, np.float32), name=str(case))
    assert comparison.passed, str(comparison)
    assert "three samples more with large values" in str(comparison)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", MODAL, ids=str)
def test_evaluation(case: LayerCase, dtype, rng) -> None:
    module, network, inputs = case.torch(rng), case.numpy(dtype), case.inputs(rng, dtype)
    comparison = compare(module, network, inputs, train=False, vary=False, name=str(case))
    assert comparison.passed, str(comparison)


@pytest.mark.parametrize("case", CONV[:3], ids=str)
def test_blank_images(case: LayerCase, rng) -> None:
    inputs = np.zeros(case.shape, np.float32)
    comparison = compare(case.torch(rng), case.numpy(np.float32), inputs, vary=False)
    assert comparison.passed, str(comparison)


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1e18])
@pytest.mark.parametrize("case", [c for c in LAYERS if c not in NON_FINITE][::7], ids=str)
def test_extreme_magnitudes(case: LayerCase, scale: float, rng) -> None:
    inputs = (case.inputs(rng, np.float64) * scale).astype(np.float32)
    comparison = compare(case.torch(rng), case.numpy(np.float32), inputs, vary=False)
    assert comparison.passed, str(comparison)
