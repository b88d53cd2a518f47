"""Files of weights in the safetensors format: parameters and buffers by their names in torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from training.storage.files import read_bounded, write_atomically

#: Of a file that is read.
MAX_BYTES = 256 * 2**20


class WeightsError(ValueError):
    """A file that holds no weights; the message says why."""


def save_weights(path: Path, weights: Mapping[str, NDArray], metadata: Mapping[str, str]) -> None:
    """Write weights, with metadata that says which network they belong to.

    Raises:
        OSError: if the file cannot be written.
    """
    write_atomically(path, serialize(weights, metadata))


def read_weights(path: Path) -> tuple[dict[str, NDArray], dict[str, str]]:
    """Return the arrays and the metadata of a file that may be a stranger's.

    Raises:
        WeightsError: if it cannot be read, is no safetensors file, or too large for one of weights.
    """
    try:
        content = read_bounded(path, MAX_BYTES)
        length = int.from_bytes(content[:8], "little")
        return load(content), json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        reason = "".join(filter(str.isprintable, str(error)))[:200]
        raise WeightsError(f"it is damaged or not a safetensors file ({reason})") from error


def serialize(arrays: Mapping[str, NDArray], metadata: Mapping[str, str]) -> bytes:
    """Return arrays and metadata as safetensors, equal bytes for equal content.

    The library alone would write the metadata in an order that changes from process to process.
    """
    content = save(dict(arrays), dict(metadata))
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text + content[start:]
