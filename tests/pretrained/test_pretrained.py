from __future__ import annotations

import os

import numpy as np
import pytest
import torch

import numpy_models
import pretrained
import torch_models
from benchmarks.weights import table
from tests.support import ROOT
from training.data import load_dataset
from training.storage.weights import read_weights

NETWORKS = ("deepcnn21", "lenet5_avgpool", "lenet5_bn", "lenet5_relu", "lenet5_tanh")


def test_there_are_weights_for_each_network() -> None:
    assert tuple(pretrained.names()) == NETWORKS


@pytest.mark.parametrize("name", NETWORKS)
def test_both_twins_are_built_with_the_same_weights(name: str) -> None:
    numpy_network = numpy_models.build(name, weights="mnist")
    torch_module = torch_models.build(name, weights="mnist")
    assert not numpy_network.training
    assert not torch_module.training
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
    inputs = torch_module.pretrained.transforms()(images)
    ours = numpy_models.outputs(numpy_network, inputs)
    with torch.inference_mode():
        theirs = torch_module(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)  # logits are of order 10
    assert "pretrained" not in dict(torch_module.named_modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_record_belongs_to_the_weights(name: str) -> None:
    weights = pretrained.load(name)
    _, metadata = read_weights(pretrained.FOLDER / f"{name}.safetensors")
    assert metadata["model"] == weights.meta["model"] == name
    assert metadata["image_size"] == str(weights.preprocessing.image_size)
    assert weights.meta["runs"]["seeds"][0] == weights.meta["seed"]
    assert (
        weights.meta["runs"]["test_accuracies"]["torch"][0]
        == weights.meta["test_accuracy"]["torch"]
    )


@pytest.mark.skipif(not os.environ.get("MNIST_ROOT"), reason="needs MNIST in MNIST_ROOT")
@pytest.mark.parametrize("name", NETWORKS)
def test_the_accuracy_of_the_record_is_reached(name: str) -> None:
    """On the first 1,000 test images a network has as many errors again as a sampling allows."""
    weights = pretrained.load(name)
    dataset = load_dataset("mnist", announce=lambda _: None)
    net = numpy_models.build(name, weights=weights)
    images = weights.transforms()(dataset.test_images[:1000])
    right = numpy_models.outputs(net, images).argmax(axis=1) == dataset.test_labels[:1000]
    claimed = weights.meta["test_accuracy"]["numpy"]
    assert abs(right.mean() - claimed) < 4 * np.sqrt(claimed * (1 - claimed) / 1000)


def test_what_cannot_be_had_is_told_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="no weights 'imagenet': choose 'mnist'"):
        numpy_models.build("lenet5_bn", weights="imagenet")
    with pytest.raises(ValueError, match="no weights for 'lenet5_variant': choose deepcnn21"):
        torch_models.build("lenet5_variant", weights="mnist")
    with pytest.raises(ValueError, match="weights of lenet5_bn, not of lenet5_relu"):
        numpy_models.build("lenet5_relu", weights=pretrained.load("lenet5_bn"))
    with pytest.raises(ValueError, match="trained with hidden=50, not 40"):
        numpy_models.build("deepcnn21", weights="mnist", hidden=40)


def test_the_page_shows_what_the_records_say() -> None:
    page = (ROOT / "docs" / "inference.md").read_text(encoding="utf-8")
    assert table() in page
