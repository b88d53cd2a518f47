"""Training on a batch in micro-batches, so small that each layer finds its input in the cache.

Losses are means over the batch. With n of N samples in a micro-batch,

    L = Σ n/N · L_n   and   dL/dw = Σ n/N · dL_n/dw,

so the sum of the micro-batches' gradients, each with its dy scaled by n/N, is that of the whole
batch. The order of summation is fixed: the same batch gives the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Protocol

import numpy as np

from numpy_models.dropout import Dropout
from numpy_models.layer import Array, Layer, Shape

#: Samples in a micro-batch. Measured for all five networks: fewer make short rows, on which every
#: array operation costs more than its arithmetic; more leave the cache before backward comes.
SIZE = 128


class Criterion(Protocol):
    """A loss that is a mean over the batch, such as :class:`numpy_models.CrossEntropyLoss`."""

    def forward(self, outputs: Array, targets: Array, /) -> float:
        """Return the loss."""
        ...

    def backward(self) -> Array:
        """Return the gradient of the last loss with respect to the outputs."""
        ...


def loss_and_gradients(
    net: Layer,
    criterion: Criterion,
    x: Array,
    targets: Array,
    *,
    whole: int | None = None,
    size: int = SIZE,
) -> tuple[float, Array]:
    """Return a batch's mean loss and outputs (N, ...); leave the gradients in ``net``.

    Args:
        net: a network; if a layer mixes samples in training, the batch is not split.
        criterion: the loss.
        x: the batch, (N, C, H, W) or (N, F).
        targets: one for each sample, as the loss takes them.
        whole: number of samples of the larger batch, if ``x`` is one process's part of it; loss
            and gradients are then the part's shares, which add up to the batch's.
        size: samples in a micro-batch.

    Raises:
        ValueError: as ``net.forward`` and the loss.
    """
    loss, parts, so_far = 0.0, [], None
    bounds = _bounds(net, len(x), size)
    with _masks_of_the_whole_batch(net, x.shape, bounds):
        for part in bounds:
            y = net.forward(x[part])
            share = len(y) / (whole or len(x))
            loss += share * criterion.forward(y, targets[part])
            dy = criterion.backward()
            net.backward(dy * dy.dtype.type(share), input_gradient=False)
            if so_far is not None:
                net.flat_gradients += so_far
            if part is not bounds[-1]:
                so_far = net.flat_gradients.copy()
            parts.append(y)
    return loss, np.concatenate(parts)


def outputs(net: Layer, x: Array, size: int = SIZE) -> Array:
    """Return the outputs (N, ...) for ``x`` in evaluation mode, computed in micro-batches."""
    was_training = net.training
    net.eval()
    try:
        return np.concatenate([net.forward(x[part]) for part in _bounds(net, len(x), size)])
    finally:
        net.train(was_training)


def _bounds(net: Layer, samples: int, size: int) -> list[slice]:
    """Return the micro-batches in order; a small remainder joins the last one."""
    if any(leaf.mixes_samples and leaf.training for leaf in net.leaves().values()):
        size = samples
    edges = [0, *range(size, samples - (size + 1) // 2 + 1, size), samples]
    return [slice(start, stop) for start, stop in pairwise(edges)]


@contextmanager
def _masks_of_the_whole_batch(net: Layer, shape: Shape, parts: list[slice]) -> Iterator[None]:
    """Make dropout draw for the whole batch at once, so that no mask depends on the split."""
    before = {}
    for _, leaf, out in net.output_shapes(shape[1:]):
        if isinstance(leaf, Dropout) and leaf.training:
            before[leaf] = leaf.draw
            uniforms = leaf.uniforms((shape[0], *out))
            rows = iter(np.split(uniforms, [part.start for part in parts[1:]]))
            leaf.draw = lambda _, rows=rows: next(rows)
    try:
        yield
    finally:
        for leaf, draw in before.items():
            leaf.draw = draw
