"""Data: MNIST and scikit-learn's digits, verified, resized, sampled and augmented with NumPy."""

from training.data.dataset import Dataset, load_dataset
from training.data.errors import DataError
from training.data.idx import read_idx
from training.data.resize import resize_bilinear
from training.data.sampling import epoch_batches, flip_decisions, flip_images

__all__ = [
    "DataError",
    "Dataset",
    "epoch_batches",
    "flip_decisions",
    "flip_images",
    "load_dataset",
    "read_idx",
    "resize_bilinear",
]
