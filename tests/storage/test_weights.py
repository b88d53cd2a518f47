"""Weights files: the same bytes for the same network, readable by the library they come from."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from training.storage.weights import save_weights, serialize

WEIGHTS = {"conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.asarray(7)}
METADATA = {"model": "lenet5_bn", "arguments": '{"ties": "all", "ε": 1}'}


@pytest.mark.parametrize("metadata", [METADATA, dict(reversed(METADATA.items()))])
def test_equal_weights_give_equal_bytes(metadata, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(path, WEIGHTS, metadata)
    assert {serialize(WEIGHTS, METADATA) for _ in range(8)} == {path.read_bytes()}
    for name, array in load_file(path).items():
        np.testing.assert_array_equal(array, WEIGHTS[name], strict=True)
    with safe_open(path, framework="numpy") as file:
        assert file.metadata() == METADATA
