"""The processes that train one network together, and what they exchange.

Every rank runs the same program with the same arguments and makes the same calls in the same
order; each trains on its part of every batch. What crosses between them is arrays. There are three
kinds: `Alone`, one process; `shared_memory.SharedMemoryRanks`, the cores of one machine for
NumPy; and `torch.distributed.DistributedRanks`, what torchrun starts. `launch.run_on_ranks`
chooses.
"""

from __future__ import annotations

from typing import Any, Protocol


class Ranks(Protocol):
    """One rank's view of all of them.

    Every method but `part` is collective: all ranks call it at the same point. Arrays are NumPy's
    or torch's, as the backend uses; their shapes and dtypes are the same on all ranks.

    Attributes:
        rank: this one's number; 0 alone prints and writes.
        world: how many there are.

    Raises:
        ProcessError: by every collective method, if another rank is gone.
    """

    rank: int
    world: int

    def part(self, size: int) -> slice:
        """Return which of `size` rows are this rank's; parts differ by one row at most."""

    def any(self, flag: bool) -> bool:
        """Return whether any rank's flag is set."""

    def broadcast_bytes(self, content: bytes) -> bytes:
        """Return rank 0's content."""

    def barrier(self) -> None:
        """Wait until all ranks are here."""

    def all_reduce(self, array: Any) -> Any:
        """Replace the array by its sum over the ranks, taken in rank order, and return it."""

    def all_gather(self, array: Any) -> list[Any]:
        """Return every rank's array, in rank order."""

    def broadcast(self, array: Any) -> None:
        """Overwrite the array with rank 0's."""


def part(size: int, rank: int, world: int) -> slice:
    """Return the rows of a rank, as `Ranks.part`."""
    return slice(size * rank // world, size * (rank + 1) // world)


class Alone:
    """One rank: the plain program."""

    rank = 0
    world = 1

    def part(self, size: int) -> slice:
        """Return all rows."""
        return slice(size)

    def any(self, flag: bool) -> bool:
        """Return the flag."""
        return flag

    def broadcast_bytes(self, content: bytes) -> bytes:
        """Return the content."""
        return content

    def barrier(self) -> None:
        """Do nothing."""

    def all_reduce(self, array: Any) -> Any:
        """Return the array."""
        return array

    def all_gather(self, array: Any) -> list[Any]:
        """Return the array as the only one."""
        return [array]

    def broadcast(self, array: Any) -> None:
        """Do nothing."""


ALONE = Alone()
