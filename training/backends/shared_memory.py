"""Ranks on one machine, which exchange arrays through shared memory.

Each hands in an array by copying it to its own slot, waits until all have done so, and reads the
slots of all in rank order: every rank computes the same sum, to the last bit. A rank has two
slots, used in turn: one that is already at the next exchange cannot overwrite what a slower one
still reads, so that a single barrier is enough for each.
"""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_char, c_ubyte
from multiprocessing.context import BaseContext
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.backends.ranks import Ranks

#: Bytes of a slot; longer arrays are exchanged in pieces.
SLOT = 1 << 20
#: Bytes for the reason with which a rank ends.
REASON = 16 << 10
#: Seconds in which a barrier is tried again and again before the process sleeps at it: parts of a
#: batch take about equally long, and being woken takes the system about as long as this.
SPIN = 100e-6
#: Seconds after which a rank that sleeps looks whether the others are still there.
PATIENCE = 0.1


class SharedMemoryRanks(Ranks):
    """One of the ranks of one machine; arrays are contiguous NumPy arrays.

    While it waits it calls others_alive, which raises, or ends the process, if one is gone.
    """

    def __init__(self, rank: int, shared: Shared, others_alive: Callable[[], None]) -> None:
        self.rank, self.world = rank, shared.world
        self._others = [other for other in range(self.world) if other != rank]
        self._slots, self._gates = shared.slots(), shared.gates
        self._others_alive = others_alive
        self._turn = 0

    def all_reduce(self, array: NDArray) -> NDArray:
        for piece in _pieces(array):
            first, second, *others = self._exchange(piece)
            np.add(first, second, out=piece)
            for other in others:
                piece += other
        return array

    def all_gather(self, array: NDArray) -> list[NDArray]:
        gathered = [np.empty_like(array) for _ in range(self.world)]
        for piece, *copies in zip(_pieces(array), *map(_pieces, gathered), strict=True):
            for copy, slot in zip(copies, self._exchange(piece), strict=True):
                copy[:] = slot
        return gathered

    def broadcast(self, array: NDArray) -> None:
        for piece in _pieces(array):
            piece[:] = self._exchange(piece)[0]

    def barrier(self) -> None:
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
    """What the ranks have in common: slots, semaphores, and each rank's reason to end."""

    def __init__(self, context: BaseContext, world: int) -> None:
        self.world = world
        self.gates = [[context.Semaphore(0) for _ in range(world)] for _ in range(2)]
        self.reasons: list[Any] = [context.RawArray(c_char, REASON) for _ in range(world)]
        self._memory: Any = context.RawArray(c_ubyte, world * 2 * SLOT)

    def slots(self) -> list[list[NDArray[np.uint8]]]:
        """Return the slots, by turn and rank."""
        slots = np.frombuffer(self._memory, np.uint8)
        return [list(turn) for turn in slots.reshape(2, self.world, SLOT)]


def _pieces(array: NDArray) -> list[NDArray]:
    """Return views of an array's values, each of which fits into a slot."""
    flat = array.reshape(-1)
    assert not flat.size or np.shares_memory(flat, array), "only contiguous arrays are exchanged"
    length = SLOT // array.itemsize
    return [flat[start : start + length] for start in range(0, flat.size, length)]
