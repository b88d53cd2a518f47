"""Splitting a batch over threads: shards, their rendezvous and the threads that run them.

NumPy releases the interpreter lock inside array operations, so a thread per core, each carrying
its own shards of the batch through the whole network, keeps every core busy with one fork and
one join per pass. Shard boundaries and the order in which shards are summed depend only on the
batch size and the number of threads: the same settings give bit-identical results every time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

#: Samples per shard to aim for: small enough that neighbouring layers meet in the cache, large
#: enough that matrix products stay efficient.
SHARD_SIZE = 64

#: Activations a thread's share of a batch should hold. With less, passing the interpreter lock
#: back and forth between many short array operations costs more than another core brings.
NUMBERS_PER_THREAD = 750_000


def shard_bounds(samples: int, threads: int, synchronised: bool) -> list[tuple[int, int]]:
    """Return (start, stop) of each shard: a multiple of ``threads`` shards of nearly equal size.

    Synchronised layers need all shards under way at once, so they get one shard per thread.
    """
    rounds = 1 if synchronised else max(1, round(samples / (threads * SHARD_SIZE)))
    count = min(samples, threads * rounds)
    edges = [samples * i // count for i in range(count + 1)]
    return list(pairwise(edges))


class Rendezvous:
    """Each shard hands in its part and receives all the parts, in the order of the shards."""

    def __init__(self, shards: int) -> None:
        self._barrier = threading.Barrier(shards)
        # Two sets of slots: a shard that is already at the next exchange cannot overwrite parts
        # that a slower one still reads.
        self._slots: list[list[Any]] = [[None] * shards, [None] * shards]
        self._visits = [0] * shards

    def exchange(self, shard: int, part: tuple) -> list[tuple]:
        """Return all parts, once every shard has come here."""
        slots = self._slots[self._visits[shard] % 2]
        self._visits[shard] += 1
        slots[shard] = part
        self._barrier.wait()
        return list(slots)

    def abort(self) -> None:
        """Release the waiting shards with an error, because one of them failed."""
        self._barrier.abort()


class ShardThreads:
    """Runs one task per shard on a fixed number of threads, the caller's among them."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None

    def worker_of(self, shard: int, shards: int) -> int:
        """Return the thread that runs ``shard``: consecutive shards share one and its workspace."""
        return shard * min(self.threads, shards) // shards

    def run(self, task: Callable[[int], None], shards: int, abort: Callable[[], None]) -> None:
        """Call ``task(shard)`` for every shard; each thread takes a consecutive block of them.

        The first exception, in the order of the shards, is raised after all threads have ended;
        ``abort`` is called as soon as one fails.
        """
        workers = min(self.threads, shards)

        def work(worker: int) -> None:
            try:
                for shard in range(shards):
                    if self.worker_of(shard, shards) == worker:
                        task(shard)
            except BaseException:
                abort()
                raise

        futures = [self._pool.submit(work, w) for w in range(1, workers)] if self._pool else []
        errors: list[BaseException] = []
        try:
            work(0)
        except BaseException as error:
            errors.append(error)
        errors += [error for error in (future.exception() for future in futures) if error]
        causes = [e for e in errors if not isinstance(e, threading.BrokenBarrierError)]
        if errors:
            raise (causes or errors)[0]
