"""An epoch's plan: each step's images and their augmentation, drawn from seed and epoch alone."""

from __future__ import annotations

import numpy as np

from training.backends.protocol import EpochPlan
from training.backends.streams import stream
from training.config.schema import Config
from training.data import draw_moves, epoch_batches, flip_decisions, inverse_affine


def plan_epoch(config: Config, count: int, epoch: int) -> EpochPlan:
    """Draw order and augmentation of an epoch (counted from 0) over count training images."""
    order = stream(config.seed, "order", epoch)
    trainer, data = config.trainer, config.data
    batches = epoch_batches(
        count, trainer.batch_size, data.sampling, order, trainer.steps_per_epoch
    )
    indices = np.concatenate(batches)
    flips = moves = None
    augment = stream(config.seed, "augment", epoch)
    if data.flip:
        flips = flip_decisions(len(indices), data.flip, augment)
    if data.shift or data.rotation:
        drawn = draw_moves(len(indices), data.shift, data.rotation, augment)
        flips, moves = None, inverse_affine(drawn, flips)
    offsets = np.cumsum([0, *map(len, batches)])
    return EpochPlan(indices, offsets, flips, epoch * len(batches), moves)
