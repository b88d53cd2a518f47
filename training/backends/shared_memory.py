"""Ranks on one machine, which exchange arrays through shared memory.

Each hands in an array by copying it to its own slot, waits until all have done so, and reads the
slots of all in rank order: every rank computes the same sum, to the last bit. A rank has two
slots, used in turn: one that is already at the next exchange cannot overwrite what a slower one
still reads, so that a single barrier is enough for each.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable
from multiprocessing.context import BaseContext
from tempfile import TemporaryFile
from time import perf_counter
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from training.backends.ranks import array_to_text, part, text_to_array

if sys.platform != "win32":
    from multiprocessing.reduction import DupFd


#: Bytes of a slot; longer arrays are exchanged in pieces. Pages that are not used take no memory.
SLOT = 4 << 20
#: Bytes for the reason with which a rank ends.
REASON = 16 << 10
#: Seconds in which a barrier is tried again and again before the process sleeps at it: parts of a
#: batch take about equally long, and being woken takes the system about as long as this.
SPIN = 100e-6
#: Seconds after which a rank that sleeps looks whether the others are still there.
PATIENCE = 0.1


class SharedMemoryRanks:
    """One of the ranks; see `training.backends.ranks.Ranks`. Arrays are contiguous NumPy arrays.

    Args:
        rank: this process's.
        shared: what all have in common.
        others_alive: raises, or ends the process, if one that it can see is gone.
    """

    def __init__(self, rank: int, shared: Shared, others_alive: Callable[[], None]) -> None:
        self.rank, self.world = rank, shared.world
        self.note = ""
        self._others = [other for other in range(self.world) if other != rank]
        self._slots, self._gates = shared.slots(), shared.gates
        self._others_alive = others_alive
        self._turn = 0

    def part(self, size: int) -> slice:
        """Return which of `size` rows are this rank's."""
        return part(size, self.rank, self.world)

    def any(self, flag: bool) -> bool:
        """Return whether any rank's flag is set."""
        return any(slot[0] for slot in self._exchange(np.array([flag], np.uint8)))

    def broadcast_bytes(self, content: bytes) -> bytes:
        """Return rank 0's content."""
        size = np.array([len(content)])
        self.broadcast(size)
        received = np.empty(size[0], np.uint8)
        if self.rank == 0:
            received[:] = np.frombuffer(content, np.uint8)
        self.broadcast(received)
        return received.tobytes()

    def all_gather_text(self, text: str) -> list[str]:
        """Return every rank's text, in rank order."""
        return [array_to_text(array) for array in self.all_gather(text_to_array(text))]

    def all_reduce(self, array: NDArray) -> NDArray:
        """Replace the array by the sum over the ranks, added up in rank order, and return it."""
        for piece in _pieces(array):
            first, second, *others = self._exchange(piece)
            np.add(first, second, out=piece)
            for other in others:
                piece += other
        return array

    def all_gather(self, array: NDArray) -> list[NDArray]:
        """Return copies of every rank's array, in rank order."""
        gathered = [np.empty_like(array) for _ in range(self.world)]
        for piece, *copies in zip(_pieces(array), *map(_pieces, gathered), strict=True):
            for copy, slot in zip(copies, self._exchange(piece), strict=True):
                copy[:] = slot
        return gathered

    def broadcast(self, array: NDArray) -> None:
        """Overwrite the array with rank 0's."""
        for piece in _pieces(array):
            piece[:] = self._exchange(piece)[0]

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        # Two semaphores each, used in turn: no rank can be two barriers ahead of another, so what
        # arrives at one belongs to this barrier.
        gates = self._gates[self._turn]
        self._turn = 1 - self._turn
        for other in self._others:
            gates[other].release()
        for _ in self._others:
            self._pass(gates[self.rank])

    def _pass(self, gate: Any) -> None:
        started = perf_counter()
        while perf_counter() - started < SPIN:
            if gate.acquire(False):
                return
        while not gate.acquire(True, PATIENCE):
            self._others_alive()

    def _exchange(self, piece: NDArray) -> list[NDArray]:
        """Hand in one piece; return every rank's, which stay until the exchange after the next."""
        slots = [slot[: piece.nbytes].view(piece.dtype) for slot in self._slots[self._turn]]
        slots[self.rank][:] = piece
        self.barrier()
        return slots


class Shared:
    """What the ranks have in common: slots, semaphores, and room for reasons to end.

    Args:
        context: of multiprocessing, which says how the processes are started.
        world: how many ranks there are.
    """

    def __init__(self, context: BaseContext, world: int) -> None:
        self.world = world
        self.gates = [[context.Semaphore(0) for _ in range(world)] for _ in range(2)]
        self.memory = Memory(world * (2 * SLOT + REASON))

    def slots(self) -> list[list[NDArray[np.uint8]]]:
        """Return the slots, by turn and rank."""
        size = 2 * self.world * SLOT
        return [list(turn) for turn in self.memory.array()[:size].reshape(2, self.world, SLOT)]

    def reason(self, rank: int) -> str:
        """Return with what reason a rank has ended, or ""."""
        return self._reasons()[rank].tobytes().rstrip(b"\0").decode(errors="replace")

    def give_reason(self, rank: int, text: str) -> None:
        """Leave a rank's reason to end."""
        content = text.encode(errors="replace")[:REASON]
        self._reasons()[rank, : len(content)] = np.frombuffer(content, np.uint8)

    def _reasons(self) -> NDArray[np.uint8]:
        return self.memory.array()[2 * self.world * SLOT :].reshape(self.world, REASON)


class Memory:
    """Bytes that processes share, without a name in the file system; they go with the last one.

    It can be handed to a process that is being started, forked or spawned.
    """

    def __init__(self, size: int) -> None:
        if sys.platform == "win32":
            self._key: Any = f"lenet-twins-{uuid4()}"
        elif hasattr(os, "memfd_create"):
            self._key = os.memfd_create("lenet-twins")
        else:
            with TemporaryFile() as file:
                self._key = os.dup(file.fileno())
        if sys.platform != "win32":
            os.ftruncate(self._key, size)
        self._attach(size)

    def array(self) -> NDArray[np.uint8]:
        """Return the bytes, uint8 (size,)."""
        return np.frombuffer(self._map, np.uint8)

    def close(self) -> None:
        """Hand it to no further process; arrays of it stay."""
        if sys.platform != "win32":
            os.close(self._key)

    def _attach(self, size: int) -> None:
        if sys.platform == "win32":
            self._map = mmap.mmap(-1, size, tagname=self._key)
        else:
            self._map = mmap.mmap(self._key, size)

    def __getstate__(self) -> tuple[Any, int]:
        return self._key if sys.platform == "win32" else DupFd(self._key), len(self._map)

    def __setstate__(self, state: tuple[Any, int]) -> None:
        key, size = state
        self._key = key if sys.platform == "win32" else key.detach()
        self._attach(size)
        self.close()


def _pieces(array: NDArray) -> list[NDArray]:
    """Return views of an array's values, each of which fits into a slot."""
    flat = array.reshape(-1)
    assert not flat.size or np.shares_memory(flat, array), "only contiguous arrays are exchanged"
    length = SLOT // array.itemsize
    return [flat[start : start + length] for start in range(0, flat.size, length)]
