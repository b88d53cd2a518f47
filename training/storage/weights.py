"""Files of weights in the safetensors format: parameters and buffers by their names in torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from training.storage.checkpoint import MAX_BYTES, metadata_of, serialize
from training.storage.files import read_bounded, write_atomically


class WeightsError(ValueError):
    """A file that holds no weights; the message says why."""


def save_weights(path: Path, weights: Mapping[str, NDArray], metadata: Mapping[str, str]) -> None:
    """Write weights, with metadata that says which network they belong to."""
    write_atomically(path, serialize(weights, metadata))


def read_weights(path: Path) -> tuple[dict[str, NDArray], dict[str, str]]:
    """Return the arrays and the metadata of a file that may be a stranger's.

    Raises WeightsError if it cannot be read, is no safetensors file, or too large for one.
    """
    try:
        content = read_bounded(path, MAX_BYTES)
        return load(content), metadata_of(content)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        reason = "".join(filter(str.isprintable, str(error)))[:200]
        raise WeightsError(f"it is damaged or not a safetensors file ({reason})") from error
