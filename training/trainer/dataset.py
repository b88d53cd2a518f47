"""A run's data, loaded once a process."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from training.backends.ranks import Ranks
from training.config.schema import Config
from training.data import Dataset, load_dataset
from training.errors import ConfigError


def load(config: Config, ranks: Ranks) -> Dataset:
    """Return the configured data; rank 0 looks for them, and downloads them, before the others.

    Raises ConfigError if they cannot be had, or have too few images for a batch.
    """
    if ranks.rank > 0:
        ranks.barrier()
    data = config.data
    silent = ranks.rank > 0
    dataset = _load_once(data.name, data.root, data.download, config.model.image_size, silent)
    if ranks.rank == 0:
        ranks.barrier()
    if data.validation:
        if data.validation >= len(dataset.train_labels):
            raise ConfigError(
                f"data.validation={data.validation} leaves none of the {len(dataset.train_labels)} "
                "training images to train on"
            )
        dataset = held_out(dataset, data.validation)
        if ranks.rank == 0:
            print(dataset.note)
    count = len(dataset.train_labels)
    if data.sampling == "replacement" and config.trainer.batch_size > count:
        raise ConfigError(
            f"trainer.batch_size={config.trainer.batch_size} is more than the {count} training "
            "images: data.sampling=replacement takes full batches only"
        )
    return dataset


def held_out(dataset: Dataset, count: int) -> Dataset:
    """Return a data set whose last `count` training images take the test images' place."""
    note = f"tested on {count:,} images held out of the training set, not on the test images"
    return replace(
        dataset,
        train_images=dataset.train_images[:-count],
        train_labels=dataset.train_labels[:-count],
        test_images=dataset.train_images[-count:],
        test_labels=dataset.train_labels[-count:],
        note="; ".join(filter(None, [dataset.note, note])),
    )


@lru_cache(maxsize=4)
def _load_once(name: str, root: str | None, download: bool, size: int, silent: bool) -> Dataset:
    folder = None if root is None else Path(root)
    return load_dataset(name, folder, download, size, (lambda _: None) if silent else print)
