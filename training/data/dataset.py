"""The data set a run trains on, and how it is chosen."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from training.data.digits import load_digits
from training.data.mnist import MNIST, Collection, MnistAbsentError, find_place, load_mnist
from training.data.resize import resize_bilinear

WARNING = "accuracies on digits are not accuracies on MNIST"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels for training and testing; every array is C-contiguous and read-only.

    Images are uint8 (N, H, W), 0 is background and 255 ink; labels are int64 (N,), 0 to 9.
    """

    name: str  # "mnist" or "digits"
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    source: str  # where the images come from, in one line
    note: str = ""  # what a reader of results must know beside them, in one line

    def __post_init__(self) -> None:
        pair = {"images": (np.uint8, 3), "labels": (np.int64, 1)}
        for field in ("train_images", "train_labels", "test_images", "test_labels"):
            array = getattr(self, field)
            assert (array.dtype, array.ndim) == pair[field.partition("_")[2]], field
            frozen = np.ascontiguousarray(array).view()
            frozen.flags.writeable = False
            object.__setattr__(self, field, frozen)
        assert len(self.train_images) == len(self.train_labels)
        assert len(self.test_images) == len(self.test_labels)


def load_dataset(
    choice: str = "auto",
    root: str | os.PathLike[str] | None = None,
    download: bool = True,
    image_size: int = 28,
    announce: Callable[[str], object] = print,
    *,
    collection: Collection = MNIST,
) -> Dataset:
    """Load MNIST or scikit-learn's digits, and say which.

    Args:
        choice: "mnist" never stands for anything else. "digits" needs no network. "auto" is MNIST
            where it is there or can be downloaded within seconds, otherwise digits. MNIST that is
            there but damaged or incomplete is an error under "auto" too: digits in its place
            would hide it.
        root, download, collection: as `training.data.mnist` takes them.
        image_size: height and width of the images; other than 28, they are resized (bilinear).
        announce: is given one line that says which data are used, and before it, as it happens,
            one about a download and one about digits in MNIST's place.

    Raises:
        DataError: MNIST is damaged or incomplete, or asked for and not to be had.
    """
    assert choice in ("auto", "mnist", "digits")
    name, note = "digits", WARNING
    if choice != "digits":
        place, patient = find_place(root, download), choice == "mnist"
        try:
            arrays = load_mnist(place, patient=patient, collection=collection, announce=announce)
            name, source, note = "mnist", f"the MNIST files in {place.root}", ""
        except MnistAbsentError as error:
            if choice == "mnist":
                raise
            announce(f"data: MNIST is {error.reason}: digits take its place")
            note = f"{WARNING}; MNIST is {error.reason}"
    if name == "digits":
        arrays, source = load_digits(), "scikit-learn's 8×8 digits brought to 28×28"
    train_images, train_labels, test_images, test_labels = arrays
    warning = f" ({WARNING})" if name == "digits" else ""
    announce(
        f"data: {name}, {len(train_labels):,} training and {len(test_labels):,} test images from "
        f"{source}{warning}"
    )
    return Dataset(
        name,
        _fit(train_images, image_size),
        train_labels.astype(np.int64),
        _fit(test_images, image_size),
        test_labels.astype(np.int64),
        source,
        note,
    )


def _fit(images: np.ndarray, size: int) -> np.ndarray:
    return images if images.shape[1:] == (size, size) else resize_bilinear(images, size)
