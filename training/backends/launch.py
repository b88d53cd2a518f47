"""How many ranks share a run, and how they are started."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from functools import cache, partial
from typing import TypeVar

from training import environment
from training.backends.ranks import ALONE, Ranks
from training.config.schema import Config
from training.data import Dataset
from training.errors import ConfigError, DivergenceError, ProcessError, StoppedError

Result = TypeVar("Result")
#: What every rank runs; on all but rank 0 the result is dropped.
Program = Callable[[Config, Dataset, Ranks], Result]

#: What all ranks find alike, so that none waits for one that has left.
COMMON = (ConfigError, DivergenceError, StoppedError)


def process_ranks() -> Ranks:
    """Return the ranks that torchrun has started, once all have come; without it, one.

    Raises:
        ConfigError: if it is not said where they are to meet.
        ProcessError: if they do not come.
    """
    return ALONE if environment.processes() == 1 else _torchruns()


def run_on_ranks(
    program: Program[Result], config: Config, dataset: Dataset, ranks: Ranks
) -> Result:
    """Call program(config, dataset, ranks) on every rank; return what this one's call returns.

    Args:
        program: the same on all ranks; it pickles.
        config: the run's.
        dataset: the run's.
        ranks: of `process_ranks`. Where there is one, the NumPy backend starts a process for each
            core that pays off.

    Raises:
        ProcessError: if another rank fails or is killed.
    """
    if ranks.world > 1:
        return _as_one_of(ranks, partial(program, config, dataset, ranks))
    if config.backend.name == "numpy":
        from training.backends.numpy import worthwhile_ranks
        from training.backends.shared_memory import run_on_cores

        world = worthwhile_ranks(config)
        if world > 1:
            return run_on_cores(partial(program, config), dataset, world)
    return program(config, dataset, ranks)


@cache
def _torchruns() -> Ranks:
    from training.backends.torch.distributed import DistributedRanks

    return DistributedRanks()


def _as_one_of(ranks: Ranks, program: Callable[[], Result]) -> Result:
    """Call the program; if it fails on this rank alone, break the connections to the others."""
    try:
        return program()
    except BaseException as error:
        lost = isinstance(error, ProcessError)
        if isinstance(error, COMMON) and not lost:
            raise
        ranks.leave()
        if ranks.rank == 0:
            raise
        if os.environ.get("HYDRA_FULL_ERROR"):
            traceback.print_exc()
        text = str(error).strip().partition("\n")[0]
        sentence = text if lost else f"{type(error).__name__}: {text}"
        print(f"train.py: rank {ranks.rank}: {sentence}", file=sys.stderr, flush=True)
        # An ordinary exit may wait for the others, and hold up the end of the job.
        os._exit(1)
