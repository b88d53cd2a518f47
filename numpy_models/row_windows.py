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
* weight gradient: input row h meets the output rows h-kh+1 .. h, again one contiguous block:
  ``g += dy[h - kh + 1 : h + 1] @ unrolled[h].T`` with kernel rows in reverse order. Every
  unrolled row is read once instead of kh times.
* input gradient: ``d_unrolled[h] = weights' @ dy[h - kh + 1 : h + 1]``, then its kw column
  shifts are added up.

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

from numpy_models.layer import Array

#: OpenBLAS's AVX-512 kernels multiply straight from memory, without packing, up to this many
#: multiplications a product; with the few filters of these networks that is a third faster.
SMALL_PRODUCT = 1_000_000
#: Numbers that one product may read and stay within a core's second-level cache, 768 KiB of
#: float32 (a window keeps to a third of it, since its rows are read kh times).
CACHED = 192 * 1024
#: Blocks are multiples of this many columns, so that the kernels' vectors stay full.
COLUMN_STEP = 64


def column_span(offset: int, width: int, outputs: int) -> tuple[slice, slice]:
    """Slices (of the outputs, of the input's columns) that meet at column offset ``offset``."""
    first = max(0, -offset)
    last = max(first, min(outputs, width - offset))
    return slice(first, last), slice(first + offset, last + offset)


def unroll_columns(x: Array, padding: int, out: Array) -> None:
    """Fill ``out`` (H, C, kw, OW, N) from ``x`` (H, C, W, N), with zeros for the padding."""
    for j in range(out.shape[2]):
        outputs, columns = column_span(j - padding, x.shape[2], out.shape[3])
        out[:, :, j, outputs] = x[:, :, columns]
        out[:, :, j, : outputs.start] = 0
        out[:, :, j, outputs.stop :] = 0


def forward(unrolled: Array, weight: Array, bias: Array | None, padding: int, out: Array) -> None:
    """Output rows ``out`` (OH, F, OW, N) from ``unrolled`` and ``weight`` (F, C, kh, kw)."""
    height, channels, kw, ow, n = unrolled.shape
    filters, _, kh, _ = weight.shape
    depth = channels * kw
    kernel = np.ascontiguousarray(weight.transpose(0, 2, 1, 3)).reshape(filters, kh * depth)
    rows = unrolled.reshape(height * depth, ow * n)
    flat = out.reshape(out.shape[0], filters, ow * n)
    height_of_window = kh * depth
    limit = min(SMALL_PRODUCT // (filters * height_of_window), CACHED // (3 * height_of_window))
    for columns in _column_blocks(ow * n, limit):
        for r in range(out.shape[0]):
            top, bottom = max(0, r - padding), min(height, r - padding + kh)
            skipped = (top - (r - padding)) * depth
            used = max(0, bottom - top) * depth
            np.matmul(
                kernel[:, skipped : skipped + used],
                rows[top * depth : top * depth + used, columns],
                out=flat[r, :, columns],
            )
    if bias is not None:
        out += bias[:, None, None]


def _column_blocks(columns: int, limit: int) -> list[slice]:
    """Nearly equal blocks of at most ``limit`` columns; one block if the limit is a sliver."""
    if limit < COLUMN_STEP or columns <= limit:
        return [slice(0, columns)]
    steps = -(-columns // COLUMN_STEP)
    block = -(-steps // -(-columns // limit)) * COLUMN_STEP
    return [slice(start, start + block) for start in range(0, columns, block)]


def weight_gradient(unrolled: Array, dy: Array, padding: int, out: Array) -> None:
    """Write the gradient of the kernel, (F, C, kh, kw), into ``out``."""
    height, channels, kw, ow, n = unrolled.shape
    filters, _, kh, _ = out.shape
    depth = channels * kw
    rows = unrolled.reshape(height, depth, ow * n)
    blocks = dy.reshape(dy.shape[0] * filters, ow * n)
    reverse = np.zeros((kh * filters, depth), dy.dtype)
    for columns in _column_blocks(ow * n, CACHED // (kh * filters + depth)):
        for h in range(height):
            first = h + padding - kh + 1
            top, bottom = max(0, first), min(dy.shape[0], h + padding + 1)
            if bottom > top:
                met = slice((top - first) * filters, (bottom - first) * filters)
                dy_rows = blocks[top * filters : bottom * filters, columns]
                reverse[met] += dy_rows @ rows[h, :, columns].T
    by_row = reverse.reshape(kh, filters, channels, kw)[::-1]
    out[...] = by_row.transpose(1, 2, 0, 3)


def input_gradient(
    dy: Array, weight: Array, padding: tuple[int, int], d_unrolled: Array, out: Array
) -> None:
    """Write the gradient of the image (H, C, W, N) into ``out``, through ``d_unrolled``."""
    height, channels, width, _ = out.shape
    oh, filters, ow, n = dy.shape
    _, _, kh, kw = weight.shape
    turned = weight[:, :, ::-1].transpose(1, 3, 2, 0)  # (C, kw, kh reversed, F)
    kernel = np.ascontiguousarray(turned).reshape(channels * kw, kh * filters)
    blocks = dy.reshape(oh * filters, ow * n)
    rows = d_unrolled.reshape(height, channels * kw, ow * n)
    for h in range(height):
        first = h + padding[0] - kh + 1
        top, bottom = max(0, first), min(oh, h + padding[0] + 1)
        met = slice((top - first) * filters, max(0, bottom - first) * filters)
        np.matmul(kernel[:, met], blocks[top * filters : bottom * filters], out=rows[h])
    for j in range(kw):
        outputs, columns = column_span(j - padding[1], width, ow)
        if j == 0:
            out[:, :, columns] = d_unrolled[:, :, j, outputs]
            out[:, :, : columns.start] = 0
            out[:, :, columns.stop :] = 0
        else:
            out[:, :, columns] += d_unrolled[:, :, j, outputs]
