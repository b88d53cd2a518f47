"""Data: MNIST and scikit-learn's digits, verified, resized, sampled and augmented with NumPy."""

from training.data.augmentation import (
    draw_moves,
    flip_decisions,
    flip_images,
    inverse_affine,
    move_images,
)
from training.data.dataset import Dataset, load_dataset
from training.data.mnist import DataError
from training.data.resize import resize_bilinear
from training.data.sampling import epoch_batches

__all__ = [
    "DataError",
    "Dataset",
    "draw_moves",
    "epoch_batches",
    "flip_decisions",
    "flip_images",
    "inverse_affine",
    "load_dataset",
    "move_images",
    "resize_bilinear",
]
