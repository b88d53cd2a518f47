r"""Stride-1 convolution by row windows: exact products, a small copy, no transposes.

With images as (H, C, W, N), an image row is C lines of W·N numbers, and one column to the right is
N numbers further along each line. The lines are cut into blocks, and each block is copied once for
each column of the kernel, shifted accordingly (im2col would copy it kh * kw times). The kh rows
under an output row are then one contiguous matrix::

    unrolled (H, kw * C, block)                weights (F, kh * kw * C)
    row 0  [ kw * C, block ]  \
    row 1  [ kw * C, block ]   > rows 0..kh-1 = one (kh * kw * C, block) matrix -> output row 0
    row 2  [ kw * C, block ]  /   \
    row 3  [ kw * C, block ]       > rows 1..kh                                -> output row 1

* forward: ``y[r] = weights @ unrolled[r : r + kh]``. A line of ones at the end of each row adds
  the bias in the same product.
* input gradient: ``d_unrolled[h] = weights' @ dy[h - kh + 1 : h + 1]``, then the gradients of a
  number's kw copies are added up, a few rows at a time, before they leave the cache.
* weight gradient: column j of the kernel multiplies x from column j on. That is a view, so
  ``dw[j] += x[r : r + kh, j columns on] @ dy[r].T`` needs no copy, unless lines are short or few.

Padding above and below costs nothing: windows are clipped to the image. Padding left and right is
zeros in the unrolled copy. No product involves a number outside its window, so NaN and infinity
spread exactly as in the direct form.

The number of multiplications is that of the direct form, F * C * kh * kw * OH * OW per sample in
each of the three products. Their speed depends on the sizes of the individual products; the
constants below were measured with OpenBLAS's AVX-512 kernels, and cost its others next to nothing.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import as_strided

from numpy_models.geometry import Pair
from numpy_models.layer import Array, Shape
from numpy_models.memory import empty

#: Up to this many multiplications, OpenBLAS multiplies matrices in place instead of packing them
#: first: with the few filters of these networks, in as little as half the time.
SMALL_PRODUCT = 1_000_000
#: For a @ b.T, the result may also have no more numbers than this.
SMALL_RESULT = 1024
#: Numbers that an unrolled block may have, 768 KiB of float32, to stay in a core's own cache.
CACHED = 192 * 1024
#: Blocks are multiples of this many columns, so that the kernels' vectors stay full.
STEP = 64
#: With lines this short, or this few under a kernel, the weight gradient is faster as one product
#: over all columns of the kernel, unrolled as in forward.
SHORT_LINE, FEW_LINES = 256, 16


def forward(x: Array, weight: Array, bias: Array | None, padding: Pair) -> Array:
    """Return the output (OH, F, OW, N) for ``x`` (H, C, W, N) and ``weight`` (F, C, kh, kw)."""
    height, channels, width, n = x.shape
    filters, _, kh, kw = weight.shape
    oh, ow = height + 2 * padding[0] - kh + 1, width + 2 * padding[1] - kw + 1
    depth = kw * channels + (bias is not None)
    matrix = np.zeros((filters, kh, depth), x.dtype)
    matrix[:, :, : kw * channels] = weight.transpose(0, 2, 3, 1).reshape(filters, kh, -1)
    if bias is not None:
        matrix[:, 0, -1] = bias
    y = empty((oh, filters, ow * n), x.dtype)
    blocks = _column_blocks(ow * n, CACHED // (height * depth))
    unrolled = empty((height * depth * blocks[0].stop,), x.dtype)
    lines = x.reshape(height, channels, width * n)
    moves = [(j - padding[1]) * n for j in range(kw)]
    for block in blocks:
        length = block.stop - block.start
        rows = unrolled[: height * depth * length].reshape(height, depth, length)
        _unroll(lines, [move + block.start for move in moves], rows)
        if bias is not None:
            rows[:, -1] = 1
        _slide(matrix.reshape(filters, -1), rows, kh, padding[0], range(oh), y[:, :, block])
    if bias is not None:
        y[: padding[0]] += bias[:, None]  # their windows lack the first row
    return y.reshape(oh, filters, ow, n)


def input_gradient(dy: Array, weight: Array, padding: Pair, shape: Shape) -> Array:
    """Return the gradient of an image of ``shape`` (H, C, W, N)."""
    height, channels, width, n = shape
    oh, filters, ow, _ = dy.shape
    _, _, kh, kw = weight.shape
    turned = weight[:, :, ::-1].transpose(3, 1, 2, 0)  # (kw, C, kh reversed, F)
    matrix = np.ascontiguousarray(turned).reshape(kw * channels, kh * filters)
    dy_lines = dy.reshape(oh, filters, ow * n)
    dx = empty((height, channels, width * n), dy.dtype)
    at_once = min(height, max(1, CACHED // (kw * channels * ow * n)))
    d_unrolled = empty((at_once, kw * channels, ow * n), dy.dtype)
    moves = [(j - padding[1]) * n for j in range(kw)]
    for start in range(0, height, at_once):
        inputs = range(start, min(start + at_once, height))
        d_rows = d_unrolled[: len(inputs)]
        _slide(matrix, dy_lines, kh, kh - 1 - padding[0], inputs, d_rows)
        _add_unrolled(d_rows, moves, dx[inputs.start : inputs.stop])
    return dx.reshape(shape)


def weight_gradient(x: Array, dy: Array, padding: Pair, out: Array) -> None:
    """Write the gradient of the kernel, (F, C, kh, kw), into ``out``."""
    height, channels, width, n = x.shape
    oh, filters, ow, _ = dy.shape
    _, _, kh, kw = out.shape
    lines, dy_lines = x.reshape(height, channels, width * n), dy.reshape(oh, filters, ow * n)
    if padding[1] or kh * channels < FEW_LINES or ow * n <= SHORT_LINE:
        unrolled = empty((height, kw * channels, ow * n), x.dtype)
        _unroll(lines, [(j - padding[1]) * n for j in range(kw)], unrolled)
        total = _window_products(unrolled, dy_lines, kh, padding[0], moves=1, step=0)
        out[...] = total.reshape(kh, kw, channels, filters).transpose(3, 2, 0, 1)
    else:
        total = _window_products(lines, dy_lines, kh, padding[0], moves=kw, step=n)
        out[...] = total.reshape(kw, kh, channels, filters).transpose(3, 2, 1, 0)


def _window_products(x: Array, dy: Array, kh: int, padding: int, moves: int, step: int) -> Array:
    """Return the sums over r of x[r : r + kh, j * step on] @ dy[r].T for each of j = 0..moves-1.

    x is (H, depth, columns), dy (OH, F, columns), the result (moves, kh * depth, F).
    """
    depth, (oh, filters, columns) = x.shape[1], dy.shape
    total = np.zeros((moves, kh * depth, filters), dy.dtype)
    whole, clipped = _placements(range(oh), len(x), kh, padding)
    for block in _column_blocks(columns, SMALL_PRODUCT // SMALL_RESULT):
        if whole:
            windows = _windows(x, whole.start - padding, len(whole), kh, block, moves, step)
            total += _sum_of_products(windows, dy[whole.start : whole.stop, :, block])
        for r, first, start, stop in clipped:
            met = slice((start - first) * depth, (stop - first) * depth)
            window = _windows(x, start, 1, stop - start, block, moves, step)
            total[:, met] += _sum_of_products(window, dy[r : r + 1, :, block])
    return total


def _multiply(a: Array, b: Array, out: Array) -> None:
    """Write ``a`` (M, K) @ ``b`` (count, 1, K, columns), as small products where possible."""
    (m, k), (count, _, _, columns) = a.shape, b.shape
    parts, pieces = _small_products(m, k, columns)
    np.matmul(
        a.reshape(parts, 1, m // parts, k),
        b.reshape(count, 1, k, pieces, -1).swapaxes(2, 3),
        out=out.reshape(count, parts, m // parts, pieces, -1).swapaxes(2, 3),
    )


@cache
def _small_products(m: int, k: int, columns: int) -> tuple[int, int]:
    """Return how many parts to cut a product's rows into, and how many pieces its columns."""
    parts = next((p for p in (1, 2, 4) if m % p == 0 and m * k * STEP <= SMALL_PRODUCT * p), 1)
    fewest = -(-columns * m * k // (SMALL_PRODUCT * parts))
    return parts, next((p for p in range(fewest, 2 * fewest + 1) if columns % p == 0), 1)


def _sum_of_products(a: Array, b: Array) -> Array:
    """Return the sums over i of ``a[i, j]`` (M, K) @ ``b[i]`` (F, K) transposed, by small tiles."""
    (count, moves, rows, k), filters = a.shape, b.shape[1]
    f = _divisor(filters, 32)
    m = _divisor(rows, SMALL_RESULT // f)
    if k <= SHORT_LINE or f * m < SMALL_RESULT // 4:
        return np.matmul(a, b.swapaxes(1, 2)[:, None]).sum(axis=0)
    tiles = np.matmul(
        a.reshape(count, moves, rows // m, 1, m, k),
        b.reshape(count, 1, 1, filters // f, f, k).swapaxes(4, 5),
    )
    return tiles.sum(axis=0).swapaxes(2, 3).reshape(moves, rows, filters)


@cache
def _divisor(number: int, limit: int) -> int:
    """Return the largest divisor that is at most ``limit``."""
    return max(d for d in range(1, limit + 1) if number % d == 0)


def column_span(offset: int, width: int, outputs: int) -> tuple[slice, slice]:
    """Return the slices (of the outputs, of the input's columns) that coincide at ``offset``."""
    first = max(0, -offset)
    last = max(first, min(outputs, width - offset))
    return slice(first, last), slice(first + offset, last + offset)


def _unroll(lines: Array, moves: list[int], out: Array) -> None:
    """Write ``lines`` (H, C, columns) into ``out`` from each column of ``moves`` on, then zeros."""
    channels = lines.shape[1]
    for k, move in enumerate(moves):
        part = out[:, k * channels : (k + 1) * channels]
        inside, columns = column_span(move, lines.shape[2], out.shape[2])
        part[:, :, inside] = lines[:, :, columns]
        if inside.start > 0:
            part[:, :, : inside.start] = 0
        if inside.stop < out.shape[2]:
            part[:, :, inside.stop :] = 0


def _add_unrolled(unrolled: Array, moves: list[int], out: Array) -> None:
    """Undo :func:`_unroll` for gradients: add up the gradients of each number's copies."""
    channels = out.shape[1]
    for k, move in enumerate(moves):
        part = unrolled[:, k * channels : (k + 1) * channels]
        inside, columns = column_span(move, out.shape[2], unrolled.shape[2])
        if k == 0:
            out[:, :, columns] = part[:, :, inside]
            out[:, :, columns.stop :] = 0
        else:
            out[:, :, columns] += part[:, :, inside]


def _slide(kernel: Array, rows: Array, kh: int, padding: int, outputs: range, out: Array) -> None:
    """Write output rows r: kernel @ the ``kh`` rows from r - padding on, those outside being zero.

    kernel is (M, kh * depth), rows (count, depth, columns), out (len(outputs), M, columns).
    """
    count, depth, columns = rows.shape
    whole, clipped = _placements(outputs, count, kh, padding)
    if whole:
        windows = _windows(rows, whole.start - padding, len(whole), kh, slice(0, columns))
        _multiply(kernel, windows, out[whole.start - outputs.start :][: len(whole)])
    for r, first, start, stop in clipped:
        used = kernel[:, (start - first) * depth : (stop - first) * depth]
        window = rows[start:stop].reshape(1, 1, -1, columns)
        _multiply(used, window, out[r - outputs.start :][:1])


@cache
def _placements(
    outputs: range, rows: int, kh: int, padding: int
) -> tuple[range, tuple[tuple[int, int, int, int], ...]]:
    """Which outputs have all their ``kh`` rows, and the (output, first, start, stop) of the others.

    Output r wants rows first = r - padding to first + kh; only start to stop exist.
    """
    whole = range(max(outputs.start, padding), min(outputs.stop, rows - kh + 1 + padding))
    clipped = tuple(
        (r, r - padding, max(0, r - padding), min(rows, r - padding + kh))
        for r in outputs
        if r not in whole
    )
    return whole, clipped


def _windows(
    rows: Array, first: int, count: int, kh: int, block: slice, moves: int = 1, step: int = 0
) -> Array:
    """``count`` overlapping windows of ``kh`` rows each, their ``block`` moved on by 0, step, ..

    A view, (count, moves, kh * depth, columns).
    """
    row, line, item = rows.strides
    return as_strided(
        rows[first:, :, block.start :],
        (count, moves, kh * rows.shape[1], block.stop - block.start),
        (row, step * item, line, item),
        writeable=False,
    )


def _column_blocks(columns: int, limit: int) -> list[slice]:
    """Nearly equal blocks of at most ``limit`` columns, in whole steps; at least one step each."""
    steps = -(-columns // STEP)
    block = -(-steps // -(-steps // max(1, limit // STEP))) * STEP
    return [slice(start, min(start + block, columns)) for start in range(0, columns, block)]
