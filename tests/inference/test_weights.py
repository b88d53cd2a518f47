from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import pretrained
from inference.networks import logits
from inference.weights import find, metadata
from training.errors import ConfigError
from training.storage.weights import save_weights


@pytest.mark.parametrize("name", ["lenet5_bn", "lenet5_tanh"])
def test_a_file_is_as_good_as_the_name(name: str, tmp_path: Path) -> None:
    weights = pretrained.load(name)
    path = tmp_path / "weights.safetensors"
    save_weights(path, weights.state, metadata(weights))
    found = find(str(path))
    assert (found.model, found.arguments) == (weights.model, weights.arguments)
    assert found.preprocessing == weights.preprocessing
    images = np.random.default_rng(0).integers(256, size=(2, 28, 28), dtype=np.uint8)
    np.testing.assert_array_equal(logits(find(name), images), logits(found, images))


def with_metadata(folder: Path, **changes: str) -> str:
    weights = pretrained.load("lenet5_bn")
    save_weights(folder / "changed.safetensors", weights.state, metadata(weights) | changes)
    return str(folder / "changed.safetensors")


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no weights 'lenet5_bm' \(did you mean lenet5_bn\?\)"):
        find("lenet5_bm")
    with pytest.raises(ConfigError, match=r"there is no checkpoint.safetensors in"):
        find(str(tmp_path))


def test_files_of_strangers_are_told_apart_from_weights(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"not at all")
    with pytest.raises(ConfigError, match="it is damaged or not a safetensors file"):
        find(str(path))
    save_file({"a": np.zeros(3, np.float32)}, path)
    with pytest.raises(ConfigError, match="it does not say which network it belongs to"):
        find(str(path))
    for changes in ({"scaling": "huge"}, {"image_size": "0"}, {"arguments": "[]"}):
        with pytest.raises(ConfigError, match="makes no sense"):
            find(with_metadata(tmp_path, **changes))


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": "lenet9"}, "no network named 'lenet9'"),
        ({"model": "deepcnn21"}, "model deepcnn21"),
        ({"arguments": '{"width": 3}'}, "model.arguments.width: lenet5_bn accepts"),
        ({"image_size": "20"}, "lenet5_bn cannot take 20×20 images"),
    ],
)
def test_weights_that_fit_no_network_are_told(
    changes: dict[str, str], told: str, backend: str, tmp_path: Path
) -> None:
    weights = find(with_metadata(tmp_path, **changes))
    with pytest.raises(ConfigError, match=told):
        logits(weights, np.zeros((1, 28, 28), np.uint8), backend)
