"""A process for each core: rank 0 is the program itself, the others are its children.

Nothing outlives rank 0, whatever ends it: multiprocessing's shared memory has no name, and a child
that waits sees that its parent is gone, or, on Linux, is ended with it by the kernel. There the
children are forked and the images are their parent's own pages; elsewhere they are spawned, and the
images are copied to shared memory once.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ctypes import c_ubyte
from functools import partial
from multiprocessing.process import BaseProcess
from time import perf_counter
from typing import Any

from training.backends.shared_memory import REASON, Shared, SharedMemoryRanks
from training.child_processes import follow_parent, signals_held, start_method
from training.data import Dataset
from training.errors import ConfigError, ProcessError, in_one_line

#: Called on every rank with the data set and the ranks.
Program = Callable[[Dataset, SharedMemoryRanks], Any]

#: Seconds in which the other ranks may end when the program has.
JOIN_SECONDS = 10


@contextmanager
def other_cores(program: Program, dataset: Dataset, world: int) -> Iterator[SharedMemoryRanks]:
    """Have world - 1 other processes call program(dataset, ranks) while the block does.

    Args:
        program: must be one that pickles where processes are spawned.
        dataset: its images are not copied for each process.
        world: at least 2; this process is the first of them.

    Raises:
        ConfigError: if so many processes cannot be started.
        ProcessError: if another rank fails or is killed, with its reason; then all are ended.
    """
    started = perf_counter()
    workers: list[BaseProcess] = []
    try:
        try:
            shared = _start(workers, program, dataset, world)
        except (OSError, ImportError) as error:  # no memory, no processes, no semaphores
            words = f"that many processes cannot be started ({error}): use fewer"
            raise ConfigError(f"backend.threads={world}: {words}") from error
        ranks = SharedMemoryRanks(0, shared, partial(_check, workers, shared))
        ranks.barrier()
        ranks.note = f"{world} processes, started in {perf_counter() - started:.2f} s"
        yield ranks
        for worker in workers:
            worker.join(JOIN_SECONDS)
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


def _start(workers: list[BaseProcess], program: Program, dataset: Dataset, world: int) -> Shared:
    """Start the processes of all ranks but 0, append each to workers, return what they share."""
    context: Any = multiprocessing.get_context(start_method())
    shared = Shared(context, world)
    images: Any = dataset
    if context.get_start_method() != "fork":
        images = SharedDataset(context, dataset)
    with signals_held():
        for rank in range(1, world):
            arguments = rank, shared, os.getpid(), program, images
            worker = context.Process(target=_work, args=arguments, daemon=True)
            worker.start()
            workers.append(worker)
    return shared


class SharedDataset:
    """A data set whose arrays lie in shared memory, once for all processes that open it."""

    def __init__(self, context: Any, dataset: Dataset) -> None:
        arrays: list[pickle.PickleBuffer] = []
        self._rest = pickle.dumps(dataset, protocol=5, buffer_callback=arrays.append)
        self._arrays = []
        for array in arrays:
            content = array.raw()
            self._arrays.append(context.RawArray(c_ubyte, content.nbytes))
            memoryview(self._arrays[-1]).cast("B")[:] = content

    def open(self) -> Dataset:
        """Return the data set."""
        arrays = [memoryview(array).toreadonly() for array in self._arrays]
        return pickle.loads(self._rest, buffers=arrays)


def _work(
    rank: int, shared: Shared, parent: int, program: Program, dataset: Dataset | SharedDataset
) -> None:
    """Be a rank other than 0, in a process of its own."""
    follow_parent(parent)
    ranks = SharedMemoryRanks(rank, shared, partial(_leave_without, parent))
    try:
        ranks.barrier()
        program(dataset.open() if isinstance(dataset, SharedDataset) else dataset, ranks)
    except BaseException as error:
        told = f"{in_one_line(error)}\n{traceback.format_exc()}".encode(errors="replace")
        shared.reasons[rank].value = told[: REASON - 1]


def _leave_without(parent: int) -> None:
    """End this process if the parent is gone."""
    above = multiprocessing.parent_process()
    if os.getppid() != parent or above is None or not above.is_alive():
        os._exit(1)


def _check(workers: Sequence[BaseProcess], shared: Shared) -> None:
    """Raise ProcessError, with its reason, if another rank is not there any more."""
    for rank, worker in enumerate(workers, 1):
        if worker.exitcode is not None:
            told = shared.reasons[rank].value.decode(errors="replace")
            sentence, _, details = told.partition("\n")
            if worker.exitcode < 0:
                sentence = f"it was killed by {signal.Signals(-worker.exitcode).name}"
            reason = sentence or f"it ended with status {worker.exitcode}"
            error = ProcessError(f"rank {rank} of the {shared.world} processes: {reason}")
            raise error from (RuntimeError(f"in rank {rank}:\n{details}") if details else None)
