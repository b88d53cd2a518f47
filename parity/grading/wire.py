"""What the judge and a submission's process say to each other: one line of JSON a message.

Arrays travel as their bytes; what JSON has no word for stays where it is and is referred to.
Nothing is pickled, so reading an answer runs none of its sender's code.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


def pack(message: Any, refer: Callable[[Any], Any]) -> bytes:
    """Return a message as a line; ``refer`` turns any other object into a reference to it."""

    def other(value: Any) -> dict[str, Any]:
        if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
            data = b64encode(value.tobytes()).decode()
            return {"array": data, "dtype": value.dtype.str, "shape": value.shape}
        return {"reference": refer(value)}

    return json.dumps(message, default=other).encode() + b"\n"


def unpack(line: bytes, resolve: Callable[[Any], Any]) -> Any:
    """Return what a line says; ``resolve`` finds the object of a reference."""

    def hook(value: dict[str, Any]) -> Any:
        if value.keys() == {"array", "dtype", "shape"}:
            data = np.frombuffer(bytearray(b64decode(value["array"])), value["dtype"])
            return data.reshape(value["shape"])
        return resolve(value["reference"]) if value.keys() == {"reference"} else value

    return json.loads(line, object_hook=hook)


def arrays(value: Any) -> Iterator[np.ndarray]:
    """Give every array in nested lists, tuples and dicts, in an order that both ends share."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from arrays(part)
