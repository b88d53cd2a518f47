"""The fast path of convolutions against the general one, at sizes on either side of every limit."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_models import Conv2d, row_windows

#: (N, C, H, W), filters, kernel, padding.
SIZES = [
    ((3, 1, 7, 6), 2, (3, 2), (0, 0)),
    ((64, 1, 12, 12), 6, (5, 5), (2, 2)),  # few lines under the kernel
    ((64, 16, 26, 26), 16, (3, 3), (0, 0)),  # several blocks, lines moved as views
    ((52, 16, 9, 12), 32, (3, 3), (0, 0)),  # rows that end within a step
    ((64, 64, 4, 4), 64, (3, 3), (1, 1)),  # filters in parts; short lines
    ((300, 8, 5, 5), 37, (3, 3), (0, 0)),  # filters that cannot be divided
    ((2, 3, 4, 4), 5, (2, 3), (1, 3)),  # kernel columns beyond the image
    ((2, 3, 1, 1), 4, (3, 3), (1, 1)),  # no window has all its rows
    ((2, 96, 3, 3), 300, (3, 3), (2, 2)),  # too many weights for a small product
]


def results(conv: Conv2d, x, dy) -> list:
    y = conv(x)
    return [y, conv.backward(dy), *(array.copy() for array in conv.gradients().values())]


@pytest.mark.parametrize(("shape", "filters", "kernel", "padding"), SIZES)
def test_both_paths_agree(monkeypatch, shape, filters, kernel, padding) -> None:
    rng = np.random.default_rng(0)
    conv = Conv2d(shape[1], filters, kernel, padding=padding).to(np.float64)
    x = rng.standard_normal(shape)
    dy = rng.standard_normal((shape[0], *conv.output_shape(shape[1:])))
    assert conv._by_row_windows()
    fast = results(conv, x, dy)
    monkeypatch.setattr(conv, "_by_row_windows", lambda: False)
    for ours, general in zip(fast, results(conv, x, dy), strict=True):
        np.testing.assert_allclose(ours, general, rtol=0, atol=1e-12 * abs(general).max())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_spreads_no_further_than_its_windows(bad) -> None:
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 64, 16, 8, 8), np.float32)
    dy = dy[:, :, :6, :6].copy()
    conv = Conv2d(16, 16, 3)
    x[5, 3, 0, 2] = bad
    y, dx, dw, db = (np.isfinite(array) for array in results(conv, x, dy))
    y_met, dw_met = np.ones_like(y), np.ones_like(dw)
    y_met[5, :, 0, :3] = dw_met[:, 3, 0] = False
    assert np.array_equal(y, y_met)
    assert np.array_equal(dw, dw_met)
    assert dx.all()
    assert db.all()


def test_small_products_are_small() -> None:
    for rows, inner, columns in ((16, 147, 1536), (64, 577, 256), (96, 96, 512), (48, 96, 640)):
        parts, pieces = row_windows._small_products(rows, inner, columns)
        assert rows % parts == columns % pieces == 0
        assert rows // parts * inner * (columns // pieces) <= row_windows.SMALL_PRODUCT
