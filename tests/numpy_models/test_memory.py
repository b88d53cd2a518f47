"""Arrays that begin on a cache line."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_models.memory import CACHE_LINE, empty


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.bool_])
@pytest.mark.parametrize("shape", [(), (7,), (3, 5, 7), (100_000,)])
def test_arrays_begin_on_a_cache_line(shape, dtype) -> None:
    kept = [empty(shape, dtype) for _ in range(5)]  # each at another place of the memory
    for array in kept:
        assert array.ctypes.data % CACHE_LINE == 0
        assert (array.shape, array.dtype) == (shape, dtype)
        assert array.flags.c_contiguous
        assert array.flags.writeable
