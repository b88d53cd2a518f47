"""The processes that train one network together, and what they exchange.

Every rank runs the same program with the same arguments and makes the same calls in the same
order; each trains on its part of every batch. What crosses between them is arrays. There are three
kinds: `Alone`, one process; `shared_memory.SharedMemoryRanks`, the cores of one machine for
NumPy; and `torch.distributed.DistributedRanks`, what torchrun starts. `opening.all_ranks`
chooses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np


class Ranks(ABC):
    """One rank's view of all of them.

    Every method but `part` is collective: all ranks call it at the same point, with arrays of the
    same shapes and dtypes; it raises ProcessError if another rank is gone.

    Attributes:
        rank: this one's number; 0 alone prints and writes.
        world: how many there are.
        note: how many and how they came about, for the run's record; empty for one.
    """

    rank: int
    world: int
    note: str = ""

    @abstractmethod
    def all_reduce(self, array: Any) -> Any:
        """Replace the array by its sum over the ranks, taken in rank order, and return it.

        Arrays are NumPy's, or torch's over torch.distributed; so they are in what follows.
        """

    @abstractmethod
    def all_gather(self, array: Any) -> list[Any]:
        """Return every rank's array, in rank order."""

    @abstractmethod
    def broadcast(self, array: Any) -> None:
        """Overwrite the array with rank 0's."""

    def part(self, size: int) -> slice:
        """Return which of `size` rows are this rank's; parts differ by one row at most."""
        return slice(size * self.rank // self.world, size * (self.rank + 1) // self.world)

    def any(self, flag: bool) -> bool:
        """Return whether any rank's flag is set."""
        return bool(self.all_reduce(np.array([flag], np.int64))[0])

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        self.any(False)

    def broadcast_bytes(self, content: bytes) -> bytes:
        """Return rank 0's content."""
        size = np.array([len(content)])
        self.broadcast(size)
        received = np.empty(size[0], np.uint8)
        if self.rank == 0:
            received[:] = np.frombuffer(content, np.uint8)
        self.broadcast(received)
        return content if self.rank == 0 else received.tobytes()


class Alone(Ranks):
    """One rank: the plain program."""

    rank = 0
    world = 1

    def all_reduce(self, array: Any) -> Any:
        return array

    def all_gather(self, array: Any) -> list[Any]:
        return [array]

    def broadcast(self, array: Any) -> None:
        pass


ALONE = Alone()
