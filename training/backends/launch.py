"""How many ranks share a run, and how they are started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

from training import environment
from training.backends.ranks import ALONE, Ranks
from training.config.schema import Config
from training.data import Dataset

#: What every rank runs; of those that are started, the result is dropped.
Program = Callable[[Config, Dataset, Ranks], Any]


def process_ranks() -> Ranks:
    """Return the ranks that torchrun has started, once all have come; without it, one.

    Raises:
        ConfigError: if it is not said where they are to meet.
        ProcessError: if they do not come.
    """
    return ALONE if environment.processes() == 1 else _torchruns()


@contextmanager
def all_ranks(program: Program, config: Config, dataset: Dataset, ranks: Ranks) -> Iterator[Ranks]:
    """Have the ranks that are not there yet call program(config, dataset, ranks) beside the block.

    Where there is one rank, the NumPy backend starts a process for each core that pays off; the
    program has to pickle.

    Raises:
        ProcessError: if another rank fails or is killed.
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


@cache
def _torchruns() -> Ranks:
    from training.backends.torch.distributed import DistributedRanks

    return DistributedRanks()
