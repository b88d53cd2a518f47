"""Memory that begins on a cache line.

A processor fetches 64 bytes at a time, but NumPy's arrays begin at any multiple of 16. The widest
vectors are 64 bytes, too: read from a misaligned array, each one needs two fetches, and matrix
products small enough to be computed without packing take up to half as long again.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from numpy_models.state import Array, Shape

CACHE_LINE = 64


def empty(shape: Shape, dtype: DTypeLike) -> Array:
    """Return an uninitialised array, as ``np.empty``, that begins on a cache line."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start : start + size].view(dtype).reshape(shape)
