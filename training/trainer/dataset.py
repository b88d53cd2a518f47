"""A run's data, loaded once a process."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

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
    count, held, size = len(dataset.train_labels), data.validation, config.trainer.batch_size
    if held:
        if held >= count:
            raise ConfigError(f"data.validation={held} leaves none of the {count} training images")
        dataset = held_out(dataset, held)
        if ranks.rank == 0:
            print(dataset.note)
    if data.sampling == "replacement" and size > count - held:
        raise ConfigError(
            f"trainer.batch_size={size} is more than the {count - held} training images: "
            "data.sampling=replacement takes full batches only"
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
    return load_dataset(name, root, download, size, (lambda _: None) if silent else print)
