"""An epoch's plan: which images each step takes, drawn from the seed and the epoch alone."""

from __future__ import annotations

import numpy as np

from training.backends.protocol import EpochPlan
from training.backends.streams import stream
from training.config.schema import Config
from training.data import epoch_batches, flip_decisions


def plan_epoch(config: Config, count: int, epoch: int) -> EpochPlan:
    """Draw the order and the flips of an epoch (counted from 0) over count training images."""
    order = stream(config.seed, "order", epoch)
    trainer, sampling = config.trainer, config.data.sampling
    batches = epoch_batches(count, trainer.batch_size, sampling, order, trainer.steps_per_epoch)
    indices = np.concatenate(batches)
    flips = None
    if config.data.flip:
        augment = stream(config.seed, "augment", epoch)
        flips = flip_decisions(len(indices), config.data.flip, augment)
    offsets = np.cumsum([0, *map(len, batches)])
    return EpochPlan(indices, offsets, flips, first_step=epoch * len(batches))
