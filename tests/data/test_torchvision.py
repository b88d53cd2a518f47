"""Torchvision as a witness: what the project does to images by itself is what torchvision does."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset
from torchvision.datasets import MNIST
from torchvision.transforms import InterpolationMode, v2

import pretrained
from tests import support
from training.data import (
    draw_moves,
    flip_images,
    inverse_affine,
    load_dataset,
    move_images,
    resize_bilinear,
)

IMAGES = np.random.default_rng(0).integers(256, size=(8, 28, 28), dtype=np.uint8)


@pytest.fixture(scope="module")
def both_readers(tmp_path_factory: pytest.TempPathFactory):
    """Torchvision wants plain files in MNIST/raw/ below its root."""
    place = os.environ.get("MNIST_ROOT")
    if not place:
        pytest.skip("needs MNIST in MNIST_ROOT")
    raw = tmp_path_factory.mktemp("torchvision") / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in [*Path(place).glob("*ubyte*"), *Path(place).glob("MNIST/raw/*ubyte*")]:
        content = path.read_bytes()
        plain = gzip.decompress(content) if path.suffix == ".gz" else content
        (raw / path.name.removesuffix(".gz")).write_bytes(plain)
    theirs = [MNIST(raw.parents[1], train=train, download=False) for train in (True, False)]
    return load_dataset("mnist", announce=lambda _: None), theirs


def test_the_same_mnist_is_read(both_readers) -> None:
    ours, (train, test) = both_readers
    np.testing.assert_array_equal(ours.train_images, train.data.numpy())
    np.testing.assert_array_equal(ours.train_labels, train.targets.numpy())
    np.testing.assert_array_equal(ours.test_images, test.data.numpy())
    np.testing.assert_array_equal(ours.test_labels, test.targets.numpy())


@pytest.mark.parametrize("size", [14, 20, 32, 56])
def test_resize_is_torchvisions_on_pil_images(size: int) -> None:
    resize = v2.Resize((size, size))
    theirs = [np.asarray(resize(Image.fromarray(image))) for image in IMAGES]
    np.testing.assert_array_equal(resize_bilinear(IMAGES, size), theirs)


def test_flip_is_torchvisions() -> None:
    theirs = v2.RandomHorizontalFlip(p=1)(torch.from_numpy(IMAGES)).numpy()
    np.testing.assert_array_equal(flip_images(IMAGES, np.ones(len(IMAGES), bool)), theirs)


def test_rotations_and_shifts_are_torchvisions_to_a_thousandth_of_a_grey_level() -> None:
    """Torchvision counts positions in halves of an image, in float32: 14 pixels to 1e-6."""
    moves = draw_moves(len(IMAGES), 3, 40, np.random.default_rng(1))
    ours = move_images(IMAGES, inverse_affine(moves))
    for image, (degrees, right, down), result in zip(IMAGES, moves, ours, strict=True):
        theirs = v2.functional.affine(
            torch.tensor(image[None, None], dtype=torch.float32),
            angle=degrees,
            translate=[right, down],
            scale=1.0,
            shear=[0.0, 0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        np.testing.assert_allclose(result, theirs[0, 0].numpy(), rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", ["lenet5_bn", "lenet5_tanh"])
def test_the_preprocessing_is_a_torchvision_pipeline(name: str) -> None:
    """To a rounding: torchvision divides by 255 and by the standard deviation one after another."""
    preprocessing = pretrained.load(name).transforms()
    size = preprocessing.image_size
    theirs = v2.Compose(
        [
            v2.Resize((size, size)),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.1307], [0.3081]),
        ]
    )
    expected = torch.stack([theirs(Image.fromarray(image)) for image in IMAGES]).numpy()
    np.testing.assert_allclose(preprocessing(IMAGES), expected, rtol=0, atol=1e-6)


def test_a_plain_torchvision_pipeline_meets_the_trainers_curve(
    both_readers, call_main, no_pictures, monkeypatch, tmp_path
) -> None:
    """On the first 640 images, three epochs of five steps each."""
    from docs.examples.torchvision_pipeline import TRANSFORM, train

    ours, (theirs, _) = both_readers
    theirs.transform = TRANSFORM
    losses = train(Subset(theirs, range(640)), epochs=3)
    few = replace(ours, train_images=ours.train_images[:640], train_labels=ours.train_labels[:640])
    few = replace(few, test_images=ours.test_images[:100], test_labels=ours.test_labels[:100])
    monkeypatch.setattr("training.trainer.dataset._load_once", lambda *_: few)
    assert call_main("model=lenet5_bn", "trainer.epochs=3", "hydra.run.dir=run") == 0
    curve = [row["train_loss"] for row in support.metrics(tmp_path / "run")]
    assert curve[2] < 0.8 * curve[0]
    # The pipelines' pixels differ by a rounding, which 15 steps of Adam make more of.
    np.testing.assert_allclose(losses, curve, rtol=1e-3)
