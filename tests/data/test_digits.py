from __future__ import annotations

import numpy as np
import pytest

from training.data import load_dataset


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits", announce=lambda _: None)


def test_shapes_and_levels(digits):
    assert digits.train_images.shape == (1437, 28, 28)
    assert digits.test_images.shape == (360, 28, 28)
    images = np.concatenate([digits.train_images, digits.test_images])
    assert images[:, 4:24, 4:24].max() == 255
    images[:, 4:24, 4:24] = 0
    assert images.max() == 0  # the border


def test_the_split_keeps_the_classes_shares(digits):
    train, test = np.bincount(digits.train_labels), np.bincount(digits.test_labels)
    assert len(train) == len(test) == 10
    assert np.abs(test - (train + test) / 5).max() < 1


def test_no_image_is_on_both_sides_and_none_is_lost(digits):
    from sklearn.datasets import load_digits

    def distinct(images):
        return {image.tobytes() for image in images}

    train, test = distinct(digits.train_images), distinct(digits.test_images)
    assert not train & test
    bundled, labels = load_digits(return_X_y=True)
    assert len(train | test) == len(distinct(bundled))
    both = np.concatenate([digits.train_labels, digits.test_labels])
    assert (np.bincount(both) == np.bincount(labels)).all()


def test_images_and_labels_belong_together(digits):
    """Most test images are nearest to their own class's mean image."""
    train = digits.train_images.reshape(-1, 784).astype(float)
    means = np.stack([train[digits.train_labels == digit].mean(axis=0) for digit in range(10)])
    test = digits.test_images.reshape(-1, 1, 784)
    nearest = np.linalg.norm(test - means, axis=2).argmin(axis=1)
    assert (nearest == digits.test_labels).mean() > 0.85
