"""Scikit-learn's bundled handwritten digits, brought to MNIST's format.

Source: `sklearn.datasets.load_digits`, 1,797 real 8×8 digits with 17 grey levels: the test part of
E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998. They come with
the library, so no network is needed.

Each image is scaled from 0..16 to 0..255, resized to 20×20 (bilinear) and given a black border of
4 pixels: MNIST's digits too were fitted into 20×20 pixels and then placed in a field of 28×28.
Accuracies on these images say nothing about accuracies on MNIST.
"""

from __future__ import annotations

import numpy as np

from training.data.resize import resize_bilinear

_BOX = 20
_BORDER = 4


def load_digits() -> tuple[np.ndarray, ...]:
    """Return training images, training labels, test images and test labels.

    Images are uint8 (1437, 28, 28) and (360, 28, 28), labels int64 (1437,) and (360,). The split
    is the same in every run and keeps the classes' shares: with the images sorted by class, every
    fifth one is for testing. Writers appear on both sides, as in a random split.
    """
    from sklearn.datasets import load_digits as load_bundled

    grey, labels = load_bundled(return_X_y=True)  # (1797, 64) in 0..16, (1797,)
    pixels = np.floor(grey.reshape(-1, 8, 8) * (255 / 16) + 0.5).astype(np.uint8)
    boxes = resize_bilinear(pixels, _BOX)
    images = np.pad(boxes, ((0, 0), (_BORDER, _BORDER), (_BORDER, _BORDER)))
    labels = labels.astype(np.int64)
    in_test = np.zeros(len(labels), bool)
    in_test[np.argsort(labels, kind="stable")[::5]] = True
    return images[~in_test], labels[~in_test], images[in_test], labels[in_test]
