r"""Stride-1 convolution by row windows: exact products, a k-fold copy, no transposes.

With images as (H, C, W, N) the kh input rows under one output row are already one contiguous
block. Only the columns have to be unrolled, so one copy of the image kw times (im2col would make
it kh * kw times) turns the block into a ready matrix::

    unrolled (H, C, kw, OW, N)                     weights (F, kh * C * kw)
    row 0  [ C * kw, OW * N ]  \
    row 1  [ C * kw, OW * N ]   > rows 0..kh-1 = one (kh * C * kw, OW * N) matrix -> output row 0
    row 2  [ C * kw, OW * N ]  /   \
    row 3  [ C * kw, OW * N ]       > rows 1..kh                                  -> output row 1

* forward: ``y[r] = weights @ unrolled[r : r + kh]``, one matrix product per output row.
* weight gradient: ``dw += unrolled[r : r + kh] @ dy[r].T``, the same windows once more; with the
  few filters on the right, OpenBLAS is faster than with their transpose on the left.
* input gradient: ``d_unrolled[h] = weights' @ dy[h - kh + 1 : h + 1]``, then its kw column
  shifts are added up, a few rows at a time, before they leave the cache.

Padding above and below costs nothing (windows are clipped to the image); padding left and right
is a border of zeros inside the unrolled copy.

Products are cut into blocks of columns, see ``SMALL_PRODUCT`` and ``CACHED``.

Cost per sample, P = OH * OW output positions: F * C * kh * kw * P multiplications in each of the
three products, as in the direct form, none wasted. Bytes copied: 4 * kw * C * H * OW, against
4 * kh * kw * C * P for im2col. No product meets a number outside its window, so NaN and infinity
spread exactly as in the direct form.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from numpy_models.geometry import Pair
from numpy_models.layer import Array, Shape

#: OpenBLAS's AVX-512 kernels multiply straight from memory, without packing, up to this many
#: multiplications a product; with the few filters of these networks that is a third faster.
SMALL_PRODUCT = 1_000_000
#: Numbers that one product may read and stay within a core's second-level cache, 768 KiB of
#: float32 (a window keeps to a third of it, since its rows are read kh times).
CACHED = 192 * 1024
#: Blocks are multiples of this many columns, so that the kernels' vectors stay full.
COLUMN_STEP = 64


def column_span(offset: int, width: int, outputs: int) -> tuple[slice, slice]:
    """Return the slices (of the outputs, of the input's columns) that meet at ``offset``."""
    first = max(0, -offset)
    last = max(first, min(outputs, width - offset))
    return slice(first, last), slice(first + offset, last + offset)


def unroll_columns(x: Array, kw: int, padding: int) -> Array:
    """Return (H, C, kw, OW, N) from ``x`` (H, C, W, N), with zeros for the padding."""
    height, channels, width, n = x.shape
    out = np.empty((height, channels, kw, width + 2 * padding - kw + 1, n), x.dtype)
    for j in range(kw):
        outputs, columns = column_span(j - padding, width, out.shape[3])
        out[:, :, j, outputs] = x[:, :, columns]
        out[:, :, j, : outputs.start] = 0
        out[:, :, j, outputs.stop :] = 0
    return out


def forward(unrolled: Array, weight: Array, bias: Array | None, padding: int) -> Array:
    """Return the output (OH, F, OW, N) for ``unrolled`` and ``weight`` (F, C, kh, kw)."""
    height, channels, kw, ow, n = unrolled.shape
    filters, _, kh, _ = weight.shape
    kernel = np.ascontiguousarray(weight.transpose(0, 2, 1, 3)).reshape(filters, -1)
    rows = unrolled.reshape(height, channels * kw, ow * n)
    y = np.empty((height + 2 * padding - kh + 1, filters, ow * n), unrolled.dtype)
    limit = min(SMALL_PRODUCT // kernel.size, CACHED // (3 * kernel.shape[1]))
    for columns in _column_blocks(ow * n, limit):
        block = y[:, :, columns]
        _slide(kernel, rows[:, :, columns], kh, padding, range(len(y)), block)
        if bias is not None:
            block += bias[:, None]
    return y.reshape(len(y), filters, ow, n)


def weight_gradient(unrolled: Array, dy: Array, padding: int, out: Array) -> None:
    """Write the gradient of the kernel, (F, C, kh, kw), into ``out``."""
    height, channels, kw, ow, n = unrolled.shape
    filters, _, kh, _ = out.shape
    depth = channels * kw
    rows = unrolled.reshape(height, depth, ow * n)
    dy_rows = dy.reshape(-1, filters, ow * n)
    whole, clipped = _placements(range(len(dy)), height, kh, padding)
    total = np.zeros((kh * depth, filters), dy.dtype)
    for columns in _column_blocks(ow * n, CACHED // (kh * depth + filters)):
        block, dy_block = rows[:, :, columns], dy_rows[:, :, columns].transpose(0, 2, 1)
        if whole:
            windows = _windows(block, whole.start - padding, len(whole), kh)
            total += np.matmul(windows, dy_block[whole.start : whole.stop]).sum(axis=0)
        for r, first, start, stop in clipped:
            met = slice((start - first) * depth, (stop - first) * depth)
            total[met] += _stacked(block, start, stop) @ dy_block[r]
    out[...] = total.reshape(kh, channels, kw, filters).transpose(3, 1, 0, 2)


def input_gradient(dy: Array, weight: Array, padding: Pair, shape: Shape) -> Array:
    """Return the gradient of an image of ``shape`` (H, C, W, N)."""
    height, channels, _, n = shape
    _, filters, ow, _ = dy.shape
    _, _, kh, kw = weight.shape
    turned = weight[:, :, ::-1].transpose(1, 3, 2, 0)  # (C, kw, kh reversed, F)
    kernel = np.ascontiguousarray(turned).reshape(channels * kw, kh * filters)
    dy_rows = dy.reshape(-1, filters, ow * n)
    dx = np.empty(shape, dy.dtype)
    at_once = max(1, CACHED // (channels * kw * ow * n))
    d_rows = np.empty((min(at_once, height), channels * kw, ow * n), dy.dtype)
    for start in range(0, height, at_once):
        outputs = range(start, min(start + at_once, height))
        block = d_rows[: len(outputs)]
        _slide(kernel, dy_rows, kh, kh - 1 - padding[0], outputs, block)
        by_column = block.reshape(len(outputs), channels, kw, ow, n)
        _add_columns(by_column, padding[1], dx[outputs.start : outputs.stop])
    return dx


def _add_columns(d_unrolled: Array, padding: int, out: Array) -> None:
    """Undo :func:`unroll_columns` for gradients: add up what its copies of a number received."""
    for j in range(d_unrolled.shape[2]):
        outputs, columns = column_span(j - padding, out.shape[2], d_unrolled.shape[3])
        if j == 0:
            out[:, :, columns] = d_unrolled[:, :, j, outputs]
            out[:, :, : columns.start] = 0
            out[:, :, columns.stop :] = 0
        else:
            out[:, :, columns] += d_unrolled[:, :, j, outputs]


def _slide(kernel: Array, rows: Array, kh: int, padding: int, outputs: range, out: Array) -> None:
    """Write output rows r: kernel @ the ``kh`` rows from r - padding on, those outside being zero.

    kernel is (M, kh * depth), rows (count, depth, columns), out (len(outputs), M, columns).
    """
    depth = rows.shape[1]
    whole, clipped = _placements(outputs, len(rows), kh, padding)
    if whole:
        windows = _windows(rows, whole.start - padding, len(whole), kh)
        np.matmul(kernel, windows, out=out[whole.start - outputs.start :][: len(whole)])
    for r, first, start, stop in clipped:
        used = kernel[:, (start - first) * depth : (stop - first) * depth]
        np.matmul(used, _stacked(rows, start, stop), out=out[r - outputs.start])


def _placements(
    outputs: range, rows: int, kh: int, padding: int
) -> tuple[range, list[tuple[int, int, int, int]]]:
    """Which outputs have all their ``kh`` rows, and the (output, first, start, stop) of the others.

    Output r wants rows first = r - padding to first + kh; only start to stop exist.
    """
    whole = range(max(outputs.start, padding), min(outputs.stop, rows - kh + 1 + padding))
    clipped = []
    for r in outputs:
        if r not in whole:
            first = r - padding
            start = min(max(0, first), rows)
            clipped.append((r, first, start, max(start, min(rows, first + kh))))
    return whole, clipped


def _windows(rows: Array, first: int, count: int, kh: int) -> Array:
    """``count`` overlapping windows of ``kh`` rows each: (count, kh * depth, columns), a view."""
    _, depth, columns = rows.shape
    row, line, item = rows.strides
    return as_strided(
        rows[first:], (count, kh * depth, columns), (row, line, item), writeable=False
    )


def _stacked(rows: Array, start: int, stop: int) -> Array:
    """Rows ``start`` to ``stop`` as one matrix ((stop - start) * depth, columns), a view."""
    _, depth, columns = rows.shape
    return as_strided(
        rows[start:], ((stop - start) * depth, columns), rows.strides[1:], writeable=False
    )


def _column_blocks(columns: int, limit: int) -> list[slice]:
    """Nearly equal blocks of at most ``limit`` columns; one block if the limit is a sliver."""
    if limit < COLUMN_STEP or columns <= limit:
        return [slice(0, columns)]
    steps = -(-columns // COLUMN_STEP)
    block = -(-steps // -(-columns // limit)) * COLUMN_STEP
    return [slice(start, start + block) for start in range(0, columns, block)]
