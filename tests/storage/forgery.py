"""Checkpoints as an attacker would make them, byte by byte."""

from __future__ import annotations

import json

import numpy as np
import safetensors.numpy

from training.storage.checkpoint import checksum


def build(header: object, content: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content


def forged(record: object, tensors: dict[str, np.ndarray] | None = None) -> bytes:
    """A file whose checksum is right, as an attacker would make it."""
    tensors = tensors or {}
    raw = {n: (a.dtype.str, a.shape, a.tobytes()) for n, a in tensors.items()}
    text = record if isinstance(record, str) else json.dumps(record)
    return safetensors.numpy.save(tensors, {"record": text, "sha256": checksum(raw, text)})


def tensor(**changes: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} | changes


META = {"__metadata__": {"record": "{}", "sha256": "0"}}
