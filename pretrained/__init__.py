"""Weights trained on MNIST for each of the five networks, and their records.

`<network>.safetensors` holds parameters and buffers under torch's names, `<network>.json` the
record of the training that produced them. `python -m benchmarks.weights` writes both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

FOLDER = Path(__file__).parent
#: The data set's name, by which the networks' `build(name, weights=...)` asks for its weights.
DATASET = "mnist"


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the network's input: resized, then pixel·scale + shift.

    Attributes:
        image_size: height and width of the input.
        scale: factor for a pixel between 0, background, and 255, ink.
        shift: added to it.
    """

    image_size: int
    scale: float
    shift: float

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return square images, uint8 (N, S, S), as float32 (N, 1, image_size, image_size)."""
        if images.shape[1:] != (self.image_size, self.image_size):
            from training.data import resize_bilinear

            images = resize_bilinear(images, self.image_size)
        scaled = np.multiply(images[:, None], np.float32(self.scale), dtype=np.float32)
        scaled += np.float32(self.shift)
        return scaled


@dataclass(frozen=True, eq=False)
class Weights:
    """A trained network's parameters and buffers.

    Attributes:
        model: the network's name, as `torch_models.build` and `numpy_models.build` take it.
        arguments: of its class.
        state: parameters and buffers by their names in torch, float32; batch normalisation's
            counters are int64.
        meta: how they were trained (command, seed, epochs, augmentation, minutes) and what they
            reach: test_accuracy by backend, and the mean over the runs with all seeds.
        preprocessing: turns MNIST's images into the network's input.
    """

    model: str
    arguments: Mapping[str, Any]
    state: Mapping[str, NDArray]
    meta: Mapping[str, Any]
    preprocessing: Preprocessing

    def transforms(self) -> Preprocessing:
        """Return the preprocessing, under the name that torchvision's weights have for it."""
        return self.preprocessing


def names() -> list[str]:
    """Return the networks that there are weights for."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def load(name: str) -> Weights:
    """Return a network's weights.

    Raises:
        ValueError: if there are none for it.
    """
    if name not in names():
        raise ValueError(f"there are no weights for {name!r}: choose {', '.join(names())}")
    meta = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    state = load_file(FOLDER / f"{name}.safetensors")
    preprocessing = Preprocessing(**meta["preprocessing"])
    return Weights(name, meta["arguments"], state, meta, preprocessing)


def chosen(name: str, weights: str | Weights, arguments: Mapping[str, Any]) -> Weights:
    """Return the weights that `build(name, weights=weights, **arguments)` asks for.

    Args:
        name: the network's.
        weights: "mnist", or what `load` returned.
        arguments: of the network's class; where they are not given, those it was trained with.

    Raises:
        ValueError: if there are no such weights, or they are another network's.
    """
    if isinstance(weights, str):
        if weights != DATASET:
            raise ValueError(f"there are no weights {weights!r}: choose {DATASET!r}, or None")
        weights = load(name)
    if weights.model != name:
        raise ValueError(f"these are weights of {weights.model}, not of {name}")
    for argument, value in weights.arguments.items():
        if arguments.get(argument, value) != value:
            raise ValueError(
                f"the weights of {name} were trained with {argument}={value!r}, "
                f"not {arguments[argument]!r}"
            )
    return weights
