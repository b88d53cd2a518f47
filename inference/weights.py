"""Weights by a name of `pretrained`, a run's folder, or a file of weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import pretrained
from pretrained import Preprocessing, Weights
from training.backends.protocol import pixel_scale
from training.errors import ConfigError, did_you_mean
from training.storage.checkpoint import CheckpointError, newest
from training.storage.weights import WeightsError, read_weights

SCALINGS = ("unit", "standard", "raw")


def find(place: str) -> Weights:
    """Return the weights that a word on the command line means.

    It is a network of `pretrained`, the folder of a run of either backend, finished or not, or a
    weights.safetensors that a run or `export` has written. Raises ConfigError for anything else.
    """
    if place in pretrained.names():
        return pretrained.load(place)
    path = Path(place)
    try:
        if path.is_dir():
            return _of_run(path)
        if path.exists():
            return _of_file(path)
    except (CheckpointError, WeightsError, OSError) as error:
        raise ConfigError(f"{place}: {error}") from error
    names = pretrained.names()
    raise ConfigError(
        f"there are no weights {place!r}{did_you_mean(place, names)}: give the folder of a run, a "
        f".safetensors file, or one of {', '.join(names)}"
    )


def metadata(weights: Weights) -> dict[str, str]:
    """Return what a file of these weights says of them, for `find` to read again."""
    preprocessing = weights.preprocessing
    numbers = np.float32(preprocessing.scale), np.float32(preprocessing.shift)
    return {
        "model": weights.model,
        "arguments": json.dumps(dict(weights.arguments)),
        "image_size": str(preprocessing.image_size),
        "scaling": next(name for name in SCALINGS if pixel_scale(name) == numbers),
    }


def _of_run(folder: Path) -> Weights:
    checkpoint, _ = newest(folder)
    state = {
        name.removeprefix("model."): array
        for name, array in checkpoint.state.items()
        if name.startswith("model.")
    }
    config = checkpoint.record.get("config")
    try:
        assert isinstance(config, dict)
        model, scaling = config["model"], config["data"]["scaling"]
        described = model["name"], model["arguments"], model["image_size"], scaling
    except (AssertionError, KeyError, TypeError) as error:
        raise CheckpointError("its checkpoint is not that of a run") from error
    return _checked(state, described, {"run": str(folder)})


def _of_file(path: Path) -> Weights:
    state, metadata = read_weights(path)
    try:
        arguments, size = json.loads(metadata["arguments"]), json.loads(metadata["image_size"])
        described = metadata["model"], arguments, size, metadata["scaling"]
    except (KeyError, ValueError, RecursionError) as error:
        raise WeightsError(
            "it does not say which network it belongs to and how images are scaled for it, as the "
            "files that train.py and `python -m inference export` write do"
        ) from error
    return _checked(state, described, {"file": str(path)})


def _checked(state: Any, described: tuple[Any, Any, Any, Any], meta: dict[str, Any]) -> Weights:
    """Return weights whose description is one; whether they fit the network shows when built."""
    name, arguments, size, scaling = described
    if not (
        isinstance(name, str)
        and isinstance(arguments, dict)
        and type(size) is int
        and 1 <= size <= 128
        and scaling in SCALINGS
    ):
        raise WeightsError("its description of the network and its images makes no sense")
    scale, shift = pixel_scale(scaling)
    preprocessing = Preprocessing(size, float(scale), float(shift))
    return Weights(name, arguments, state, meta, preprocessing)
