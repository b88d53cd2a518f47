"""A kernel's gradient that is added up block by block is that of all columns."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_models import row_windows


@pytest.mark.parametrize("padding", [0, 1])
def test_a_weight_gradient_in_several_blocks_of_columns(padding, monkeypatch) -> None:
    height, channels, kw, ow, n, filters, kh = 6, 2, 3, 5, 200, 4, 3
    draw = np.random.default_rng(0).integers  # whole numbers, whose sums have no rounding
    unrolled = draw(-4, 5, (height, channels, kw, ow, n)).astype(np.float32)
    dy = draw(-4, 5, (height + 2 * padding - kh + 1, filters, ow, n)).astype(np.float32)
    limit = 3 * row_windows.COLUMN_STEP
    monkeypatch.setattr(row_windows, "CACHED", limit * (kh * channels * kw + filters))
    assert len(row_windows._column_blocks(ow * n, limit)) > 2
    found = np.empty((filters, channels, kh, kw), np.float32)
    row_windows.weight_gradient(unrolled, dy, padding, found)
    padded = np.pad(unrolled, [(padding, padding), *[(0, 0)] * 4])
    rows = [padded[i : i + len(dy)] for i in range(kh)]
    expected = np.stack([np.einsum("rfon,rckon->fck", dy, r) for r in rows], axis=2)
    np.testing.assert_array_equal(found, expected)
