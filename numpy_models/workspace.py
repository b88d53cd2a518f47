"""Memory that one thread's layers share, so that it stays in the cache.

A layer's output is usually read once, by the next layer, and a gradient always is. Such arrays
take turns in two slots that all layers of a thread share; scratch arrays share one slot per name.
What ``backward`` will need after other layers (or other shards) have run must not live here.
"""

from __future__ import annotations

import math

import numpy as np

Array = np.ndarray
Shape = tuple[int, ...]


class Workspace:
    """Named slots of bytes that grow to the largest array asked of them."""

    def __init__(self) -> None:
        self._slots: dict[str, Array] = {}

    def scratch(self, name: str, shape: Shape, dtype: np.dtype | type) -> Array:
        """Return an undefined array in the slot ``name``, valid until the name's next use."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        slot = self._slots.get(name)
        if slot is None or slot.nbytes < size:
            slot = self._slots[name] = np.empty(size, np.uint8)
        return slot[:size].view(dtype).reshape(shape)

    def beside(self, source: Array, shape: Shape, dtype: np.dtype | type) -> Array:
        """Return an array for a result computed from ``source``, in the slot that is free of it."""
        turn = self._slots.get("turn 0")
        occupied = turn is not None and np.may_share_memory(source, turn)
        return self.scratch("turn 1" if occupied else "turn 0", shape, dtype)
