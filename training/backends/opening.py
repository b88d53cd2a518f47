"""What trains: how many ranks share a run, how they are started, and the backend of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import numpy as np

from training import environment
from training.backends.protocol import Backend
from training.backends.ranks import ALONE, Ranks
from training.config.schema import Config
from training.data import Dataset
from training.errors import ConfigError, first_line

#: What every rank runs; of those that are started, the result is dropped.
Program = Callable[[Config, Dataset, Ranks], Any]


def process_ranks() -> Ranks:
    """Return the ranks that torchrun has started, once all have come; without it, one."""
    return ALONE if environment.processes() == 1 else _torchruns()


@cache
def _torchruns() -> Ranks:
    from training.backends.torch.distributed import DistributedRanks

    return DistributedRanks()


@contextmanager
def all_ranks(program: Program, config: Config, dataset: Dataset, ranks: Ranks) -> Iterator[Ranks]:
    """Have the ranks that are not there yet call program(config, dataset, ranks) beside the block.

    Where there is one rank, the NumPy backend starts a process for each core that pays off, as
    `workers.other_cores` does; the program has to pickle.
    """
    if ranks.world == 1 and config.backend.name == "numpy":
        from training.backends.numpy import worthwhile_ranks
        from training.backends.workers import other_cores

        world = worthwhile_ranks(config)
        if world > 1:
            with other_cores(partial(program, config), dataset, world) as cores:
                yield cores
            return
    yield ranks


def open_backend(config: Config, ranks: Ranks = ALONE) -> Backend:
    """Build the configured network on the configured side, with its initial weights.

    All ranks open theirs at the same point, on the same kind of device.

    Raises:
        ConfigError: if the network, an argument, the size of its images or the device cannot
            be had.
    """
    backend: Backend
    if config.backend.name == "torch":
        from training.backends.torch import TorchBackend

        backend = TorchBackend(config, ranks)
    else:
        from training.backends.numpy import NumpyBackend

        backend = NumpyBackend(config, ranks)
    model, size = config.model.name, config.model.image_size
    try:
        backend.layer_table()
    except (ValueError, RuntimeError) as error:
        words = f"{model} cannot take {size}×{size} images"
        raise ConfigError(f"model.image_size={size}: {words} ({first_line(error)})") from error
    on_cuda = int(ranks.all_reduce(np.array([backend.device == "cuda"], np.int64))[0])
    if 0 < on_cuda < ranks.world:
        raise ConfigError(
            "device=auto means cuda for some ranks and cpu for others: use device=cpu"
        )
    return backend
