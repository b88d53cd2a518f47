"""Lay a tensor of errors out on a plane, small enough to draw."""

from __future__ import annotations

from math import ceil, sqrt

import numpy as np

ROWS, COLUMNS = 48, 96


def lay_out(errors: np.ndarray) -> tuple[list[list[float]], str]:
    """Return rows of errors, and in words how the axes became rows and columns.

    A cell that stands for several elements has the largest of their errors. NaN marks a place
    without an element; an error that is not finite becomes infinity.

    Args:
        errors: non-negative array of any shape.
    """
    errors = np.where(np.isfinite(errors), errors, np.inf).astype(np.float64)
    plane, words = _plane(errors)
    if len(plane) > 2 * plane.shape[1]:
        plane, words = plane.T, f"{words}, turned"
    high, wide = (ceil(n / limit) for n, limit in zip(plane.shape, (ROWS, COLUMNS), strict=True))
    if high * wide > 1:
        plane = _largest_of_blocks(plane, high, wide)
        words += f"; a cell is the largest of {high} × {wide} elements"
    return plane.tolist(), words


def _plane(errors: np.ndarray) -> tuple[np.ndarray, str]:
    if errors.ndim == 4:
        outer, inner, high, wide = errors.shape
        if outer == 1 or inner == 1:
            tiles = errors.reshape(-1, high, wide)
            across = ceil(sqrt(len(tiles) * high / wide))
            tiles = _filled(tiles, across)
            outer, inner = len(tiles) // across, across
            errors = tiles.reshape(outer, inner, high, wide)
        plane = errors.transpose(0, 2, 1, 3).reshape(outer * high, inner * wide)
        return plane, f"{outer} × {inner} tiles of {high} × {wide}"
    if errors.ndim == 2:
        return errors, _rows(*errors.shape)
    row = errors.reshape(-1, 1, 1)
    across = len(row) if len(row) <= 16 else ceil(sqrt(3 * len(row)))
    plane = _filled(row, across).reshape(-1, across)
    return plane, _rows(*plane.shape)


def _rows(high: int, wide: int) -> str:
    return f"{high} rows of {wide}" if high > 1 else f"a row of {wide}"


def _filled(tiles: np.ndarray, across: int) -> np.ndarray:
    """Append empty tiles until they fill whole rows."""
    missing = -len(tiles) % across
    return np.concatenate([tiles, np.full((missing, *tiles.shape[1:]), np.nan)])


def _largest_of_blocks(plane: np.ndarray, high: int, wide: int) -> np.ndarray:
    rows, columns = (ceil(n / size) for n, size in zip(plane.shape, (high, wide), strict=True))
    padded = np.full((rows * high, columns * wide), -1.0)
    padded[: plane.shape[0], : plane.shape[1]] = np.where(np.isnan(plane), -1.0, plane)
    blocks = padded.reshape(rows, high, columns, wide).max(axis=(1, 3))
    return np.where(blocks < 0, np.nan, blocks)
