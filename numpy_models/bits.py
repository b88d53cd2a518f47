"""Choosing array elements through their bits.

NumPy's masked copies (``where=``, boolean indexing) take some twenty times as long as a plain
pass over the array, and multiplying by a 0/1 mask turns infinities and NaN into NaN. Seen as
integers, ``value & -1`` keeps a number and ``value & 0`` clears it, for every number there is.
"""

from __future__ import annotations

import numpy as np

from numpy_models.layer import Array


def as_integers(values: Array) -> Array:
    """Return the same memory seen as signed integers of the same width."""
    return values.view(np.int32 if values.itemsize == 4 else np.int64)


def bit_mask(chosen: Array) -> Array:
    """Turn ``chosen``, in its own memory, from booleans into int8: -1 for True, 0 for False."""
    mask = chosen.view(np.int8)
    return np.negative(mask, out=mask)


def keep_mask(dropped: Array) -> Array:
    """Turn ``dropped``, in its own memory, from booleans into int8: 0 for True, -1 for False."""
    mask = dropped.view(np.int8)
    return np.subtract(mask, 1, out=mask)


def select(values: Array, mask: Array, out: Array) -> Array:
    """Set ``out`` to ``values`` where the :func:`bit_mask` is -1 and to +0 where it is 0."""
    np.bitwise_and(as_integers(values), mask, out=as_integers(out))
    return out


def without(values: Array, selected: Array, out: Array) -> Array:
    """Set ``out`` to ``values``, but to +0 where :func:`select` put them into ``selected``."""
    np.bitwise_xor(as_integers(values), as_integers(selected), out=as_integers(out))
    return out
