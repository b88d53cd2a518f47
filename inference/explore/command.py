"""`python -m inference explore`: write the page, one file that works from disk without a network.

The files beside this one are put into one document with the networks' layers and weights. Layers
are read off `numpy_models`' own, so that a new network needs nothing here; a new kind of layer
needs a line in `_OPTIONS` and a function of its name in network.js.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pretrained
from inference.networks import network
from inference.weights import find
from numpy_models import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
    SiLU,
    Tanh,
)
from pretrained import Weights
from training.data import load_dataset
from training.errors import ConfigError
from training.storage.files import write_atomically

FOLDER = Path(__file__).parent
SAMPLES_PER_CLASS = 2
#: In the order of the reports.
NETWORKS = ("lenet5_relu", "lenet5_tanh", "deepcnn21", "lenet5_avgpool", "lenet5_bn")


def main(arguments: Sequence[str]) -> None:
    """Write the page that the arguments ask for."""
    parser = argparse.ArgumentParser(
        prog="python -m inference explore",
        description="Write a page on which a digit is drawn and every layer is watched.",
    )
    parser.add_argument(
        "--weights",
        nargs="+",
        default=NETWORKS,
        metavar="W",
        help="runs, files or names of weights to switch between (default: all five networks)",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="PAGE.html")
    options = parser.parse_args(arguments)
    text = page([entry(find(place), place) for place in options.weights], samples())
    write_atomically(options.output, text.encode())
    print(f"wrote {options.output} ({len(text) / 1e6:.1f} MB): open it in a browser")


def page(entries: Sequence[dict[str, Any]], pictures: Sequence[dict[str, Any]]) -> str:
    """Return the HTML document for networks from `entry` and pictures from `samples`."""
    text = _source("page.html")
    for pattern, element in (
        (r'<link rel="stylesheet" href="(.+)">', "style"),
        (r'<script src="(.+)"></script>', "script"),
    ):
        for tag in re.finditer(pattern, text):
            text = text.replace(tag[0], f"<{element}>\n{_source(tag[1])}</{element}>")
    data = json.dumps({"networks": entries, "samples": pictures}, ensure_ascii=False)
    return text.replace('id="data">', 'id="data">' + data.replace("<", r"\u003c"))


def entry(weights: Weights, place: str) -> dict[str, Any]:
    """Return a network as network.js takes it, or raise ConfigError if its page cannot compute it.

    The weights come with what their images go through; the reader is told the place they are from.
    """
    net = network(weights)
    module = inspect.getmodule(type(net))
    about = re.sub(r"^R\d's ", "", (inspect.getdoc(module) or "").partition("\n")[0])
    accuracy = weights.meta.get("test_accuracy", {}).get("numpy")
    origin = f"{100 * accuracy:.2f} % on MNIST's test images." if accuracy else f"From {place}."
    return {
        "name": weights.model if place in pretrained.names() else Path(place).resolve().name,
        "about": f"{about} {origin}",
        "image_size": weights.preprocessing.image_size,
        "scale": weights.preprocessing.scale,
        "shift": weights.preprocessing.shift,
        "layers": layers(net.layers),
    }


def samples(choice: str = "auto") -> list[dict[str, Any]]:
    """Return test images to pick from: by default MNIST's where they are at hand, else digits."""
    data = load_dataset(choice, download=False, announce=lambda _: None)
    by_class = [np.flatnonzero(data.test_labels == digit) for digit in range(10)]
    chosen = [places[turn] for turn in range(SAMPLES_PER_CLASS) for places in by_class]
    return [
        {"label": int(data.test_labels[i]), "pixels": _base64(data.test_images[i])} for i in chosen
    ]


def layers(named: Mapping[str, Layer]) -> list[dict[str, Any]]:
    """Return layers, given by name, with their options and weights."""
    return [_layer(name, layer) for name, layer in named.items()]


def _layer(name: str, layer: Layer) -> dict[str, Any]:
    kind = type(layer)
    if kind not in _OPTIONS:
        raise ConfigError(
            f"the page cannot compute layer {name} ({kind.__name__}): add {kind.__name__} to "
            "_OPTIONS in inference/explore/command.py and to LAYERS in network.js"
        )
    arrays = {} if layer.layers else layer.parameters() | layer.buffers()
    return {
        "name": name,
        "kind": kind.__name__,
        "detail": _detail(layer),
        **_OPTIONS[kind](layer),
        "weights": {
            key: {"shape": array.shape, "data": _base64(array.astype("<f4"))}
            for key, array in arrays.items()
        },
        "layers": layers(layer.layers),
    }


def _conv(layer: Conv2d) -> dict[str, Any]:
    return {"stride": layer.windows.stride, "padding": layer.windows.padding}


def _pool(layer: MaxPool2d | AvgPool2d) -> dict[str, Any]:
    if layer.windows.padding != (0, 0) or layer.windows.ceil_mode:
        raise ConfigError(
            f"the page cannot compute {layer}: its poolings have no padding or ceil_mode"
        )
    return {"kernel": layer.windows.kernel, "stride": layer.windows.stride}


def _dropout(layer: Dropout) -> dict[str, Any]:
    return {"factor": 1 - layer.p if layer.kind == "original" else 1}


#: What network.js must know of a layer besides its weights, for every kind of layer it has.
_OPTIONS: dict[type[Layer], Callable[[Any], dict[str, Any]]] = {
    Conv2d: _conv,
    MaxPool2d: _pool,
    AvgPool2d: _pool,
    BatchNorm2d: lambda layer: {"eps": layer.eps},
    Dropout: _dropout,
    **dict.fromkeys([Linear, ReLU, SiLU, Tanh, Flatten, Sequential, Residual], lambda _: {}),
}


def _detail(layer: Layer) -> str:
    """Return what a reader wants to know of a layer besides its kind."""
    windows = getattr(layer, "windows", None)
    if windows is None:
        return ""
    padding = f", padding {windows.padding[0]}" if any(windows.padding) else ""
    return f"{windows.kernel[0]}×{windows.kernel[1]}{padding}"


def _base64(array: NDArray) -> str:
    return b64encode(array.tobytes()).decode("ascii")


def _source(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
