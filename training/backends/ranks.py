"""The processes that train one network together, and what they exchange.

Every rank runs the same program with the same arguments and makes the same calls in the same
order; each trains on its part of every batch. What crosses between them is arrays. There are three
kinds: `Alone`, one process; `shared_memory.SharedMemoryRanks`, the cores of one machine for
NumPy; and `torch.distributed.DistributedRanks`, what torchrun starts. `launch.all_ranks`
chooses.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

#: Bytes of a text that is exchanged.
TEXT = 2000


class Ranks(Protocol):
    """One rank's view of all of them.

    Every method but `part` is collective: all ranks call it at the same point. Arrays
    are NumPy's or torch's, as the backend uses; shapes and dtypes are the same on all ranks.

    Attributes:
        rank: this one's number; 0 alone prints and writes.
        world: how many there are.
        note: how many and how they came about, for the run's record; empty for one.

    Raises:
        ProcessError: by every collective method, if another rank is gone.
    """

    rank: int
    world: int
    note: str

    def part(self, size: int) -> slice:
        """Return which of `size` rows are this rank's; parts differ by one row at most."""

    def any(self, flag: bool) -> bool:
        """Return whether any rank's flag is set."""

    def broadcast_bytes(self, content: bytes) -> bytes:
        """Return rank 0's content."""

    def all_gather_text(self, text: str) -> list[str]:
        """Return every rank's text, cut to TEXT bytes, in rank order."""

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


def text_to_array(text: str) -> NDArray[np.uint8]:
    """Return a text as uint8 (TEXT,), in which form it can be exchanged."""
    return np.frombuffer(text.encode(errors="replace")[:TEXT].ljust(TEXT, b"\0"), np.uint8).copy()


def array_to_text(array: NDArray[np.uint8]) -> str:
    """Return the text that an array holds."""
    return array.tobytes().rstrip(b"\0").decode(errors="replace")


class Alone:
    """One rank: the plain program."""

    rank = 0
    world = 1
    note = ""

    def part(self, size: int) -> slice:
        """Return all rows."""
        return slice(size)

    def any(self, flag: bool) -> bool:
        """Return the flag."""
        return flag

    def broadcast_bytes(self, content: bytes) -> bytes:
        """Return the content."""
        return content

    def all_gather_text(self, text: str) -> list[str]:
        """Return the text as the only one."""
        return [text]

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
