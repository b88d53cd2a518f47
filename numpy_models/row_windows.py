r"""Stride-1 convolution by row windows: exact products, a small copy, no transposes.

With images as (H, C, W, N) an image row is C lines of W·N numbers, and one column further to the
right means N numbers further along each line. So the lines are cut into blocks, and a block is
copied once for each column of the kernel, moved accordingly (im2col would copy it kh * kw times).
Now the kh rows under an output row are one contiguous matrix::

    unrolled (H, kw * C, block)                weights (F, kh * kw * C)
    row 0  [ kw * C, block ]  \
    row 1  [ kw * C, block ]   > rows 0..kh-1 = one (kh * kw * C, block) matrix -> output row 0
    row 2  [ kw * C, block ]  /   \
    row 3  [ kw * C, block ]       > rows 1..kh                                -> output row 1

* forward: ``y[r] = weights @ unrolled[r : r + kh]``. A last line of ones in each row takes the
  bias into the product.
* input gradient: the same with dy for x, the kernel turned by 180 degrees, and C and F exchanged.
* weight gradient: column j of the kernel meets x from column j on, which is a view, so
  ``dw[j] += x[r : r + kh, j columns on] @ dy[r].T`` needs no copy.

Padding costs nothing: windows are clipped to the image, and a block is one of output columns that
meet the same columns of the kernel. No product meets a number outside its window, so NaN and
infinity spread exactly as in the direct form.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import as_strided

from numpy_models.geometry import Pair
from numpy_models.layer import Array, Shape
from numpy_models.memory import empty

#: OpenBLAS's AVX-512 kernels multiply straight from memory, without packing, up to this many
#: multiplications a product: with the few filters of these networks up to twice as fast.
SMALL_PRODUCT = 1_000_000
#: For a product with a transpose, a @ b.T, its result may also have no more numbers than this.
SMALL_RESULT = 1024
#: Numbers that an unrolled block may have, to stay within a core's second-level cache.
CACHED = 192 * 1024
#: Blocks are multiples of this many numbers, so that the kernels' vectors stay full.
STEP = 64
#: With lines as short as this or fewer than that under a kernel, the weight gradient is faster in
#: one product over all columns of the kernel, unrolled as in forward.
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
        y[: padding[0]] += bias[:, None]  # whose windows lack the first row
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
    moves = [(j - padding[1]) * n for j in range(kw)]
    if kh * channels < FEW_LINES or ow * n <= SHORT_LINE:
        unrolled = empty((height, kw * channels, ow * n), x.dtype)
        _unroll(lines, moves, unrolled)
        total = np.zeros((kh, kw * channels, filters), dy.dtype)
        _add_products(unrolled, dy_lines, padding[0], total)
        out[...] = total.reshape(kh, kw, channels, filters).transpose(3, 2, 0, 1)
        return
    for j, move in enumerate(moves):
        met, columns = column_span(move, width * n, ow * n)
        total = np.zeros((kh, channels, filters), dy.dtype)
        _add_products(lines[:, :, columns], dy_lines[:, :, met], padding[0], total)
        out[:, :, :, j] = total.transpose(2, 1, 0)


def _add_products(x: Array, dy: Array, padding: int, total: Array) -> None:
    """Add the windows of ``x`` (H, depth, columns) @ dy[r].T to ``total`` (kh, depth, F)."""
    kh, depth, filters = total.shape
    flat = total.reshape(kh * depth, filters)
    whole, clipped = _placements(range(len(dy)), len(x), kh, padding)
    for block in _column_blocks(x.shape[2], SMALL_PRODUCT // SMALL_RESULT):
        x_block, dy_block = x[:, :, block], dy[:, :, block]
        if whole:
            windows = _windows(x_block, whole.start - padding, len(whole), kh)
            flat += _sum_of_products(windows, dy_block[whole.start : whole.stop])
        for r, first, start, stop in clipped:
            window = x_block[start:stop].reshape(1, -1, x_block.shape[2])
            met = slice((start - first) * depth, (stop - first) * depth)
            flat[met] += _sum_of_products(window, dy_block[r : r + 1])


def _multiply(a: Array, b: Array, out: Array) -> None:
    """Write ``a`` (M, K) @ ``b`` (count, K, columns), as small products where that can be."""
    (m, k), (count, _, columns) = a.shape, b.shape
    parts, pieces = _small_products(m, k, columns)
    np.matmul(
        a.reshape(parts, 1, m // parts, k),
        b.reshape(count, 1, k, pieces, -1).swapaxes(2, 3),
        out=out.reshape(count, parts, m // parts, pieces, -1).swapaxes(2, 3),
    )


@cache
def _small_products(m: int, k: int, columns: int) -> tuple[int, int]:
    """Into how many parts the rows, and how many pieces the columns of a product are best cut."""
    parts = next((p for p in (1, 2, 4) if m % p == 0 and m * k * STEP <= SMALL_PRODUCT * p), 1)
    fewest = -(-columns * m * k // (SMALL_PRODUCT * parts))
    return parts, next((p for p in range(fewest, 2 * fewest + 1) if columns % p == 0), 1)


def _sum_of_products(a: Array, b: Array) -> Array:
    """Return the sum over i of ``a[i]`` (M, K) @ ``b[i]`` (F, K) transposed, by small tiles."""
    (count, rows, k), filters = a.shape, b.shape[1]
    if k <= SHORT_LINE:
        return np.matmul(a, b.swapaxes(1, 2)).sum(axis=0)
    f = _divisor(filters, 16)
    m = _divisor(rows, SMALL_RESULT // f)
    tiles = np.matmul(
        a.reshape(count, rows // m, 1, m, k), b.reshape(count, 1, -1, f, k).swapaxes(3, 4)
    )
    return tiles.sum(axis=0).swapaxes(1, 2).reshape(rows, filters)


@cache
def _divisor(number: int, limit: int) -> int:
    """Return the largest divisor that is at most ``limit``."""
    return max(d for d in range(1, limit + 1) if number % d == 0)


def column_span(offset: int, width: int, outputs: int) -> tuple[slice, slice]:
    """Return the slices (of the outputs, of the input's columns) that meet at ``offset``."""
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
    """Undo :func:`_unroll` for gradients: add up what its copies of a number received."""
    channels = out.shape[1]
    for k, move in enumerate(moves):
        part = unrolled[:, k * channels : (k + 1) * channels]
        inside, columns = column_span(move, out.shape[2], unrolled.shape[2])
        if k == 0:
            out[:, :, columns] = part[:, :, inside]
            out[:, :, : columns.start] = 0
            out[:, :, columns.stop :] = 0
        else:
            out[:, :, columns] += part[:, :, inside]


def _slide(kernel: Array, rows: Array, kh: int, padding: int, outputs: range, out: Array) -> None:
    """Write output rows r: kernel @ the ``kh`` rows from r - padding on, those outside being zero.

    kernel is (M, kh * depth), rows (count, depth, columns), out (len(outputs), M, columns).
    """
    depth = rows.shape[1]
    whole, clipped = _placements(outputs, len(rows), kh, padding)
    if whole:
        windows = _windows(rows, whole.start - padding, len(whole), kh)
        _multiply(kernel, windows, out[whole.start - outputs.start :][: len(whole)])
    for r, first, start, stop in clipped:
        used = kernel[:, (start - first) * depth : (stop - first) * depth]
        window = rows[start:stop].reshape(1, -1, rows.shape[2])
        _multiply(used, window, out[r - outputs.start :][:1])


def _placements(
    outputs: range, rows: int, kh: int, padding: int
) -> tuple[range, list[tuple[int, int, int, int]]]:
    """Which outputs have all their ``kh`` rows, and the (output, first, start, stop) of the others.

    Output r wants rows first = r - padding to first + kh; only start to stop exist.
    """
    whole = range(max(outputs.start, padding), min(outputs.stop, rows - kh + 1 + padding))
    clipped = [
        (r, r - padding, max(0, r - padding), min(rows, r - padding + kh))
        for r in outputs
        if r not in whole
    ]
    return whole, clipped


def _windows(rows: Array, first: int, count: int, kh: int) -> Array:
    """``count`` overlapping windows of ``kh`` rows each: (count, kh * depth, columns), a view."""
    _, depth, columns = rows.shape
    row, line, item = rows.strides
    return as_strided(
        rows[first:], (count, kh * depth, columns), (row, line, item), writeable=False
    )


def _column_blocks(columns: int, limit: int) -> list[slice]:
    """Nearly equal blocks of at most ``limit`` columns, in whole steps; at least one step each."""
    steps = -(-columns // STEP)
    block = -(-steps // -(-steps // max(1, limit // STEP))) * STEP
    return [slice(start, min(start + block, columns)) for start in range(0, columns, block)]
