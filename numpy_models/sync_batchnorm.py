"""Batch normalisation over a batch that is spread over several processes.

The moments of the whole batch follow from those of its parts, and so do the two sums that the
backward pass needs. Every process merges the same parts in the same order, so the statistics,
running ones included, are equal everywhere to the last bit. The gradients of γ and β remain those
of the process's own part, as in all other layers: the trainer adds them up over the processes.
"""

from __future__ import annotations

from collections.abc import Callable

from numpy_models.batchnorm import BatchNorm2d
from numpy_models.layer import Array, Layer

Gather = Callable[[Array], list[Array]]


class SyncBatchNorm2d(BatchNorm2d):
    """:class:`numpy_models.BatchNorm2d` over all processes, as ``torch.nn.SyncBatchNorm``.

    Args:
        layer: whose options, mode, parameters and statistics are copied.
        gather: takes this process's array and returns those of all processes, in rank order; all
            of them call it once in each training ``forward`` and once in its ``backward``.
    """

    def __init__(self, layer: BatchNorm2d, gather: Gather) -> None:
        vars(self).update(vars(layer.copy()))
        self._gather = gather

    def gather(self, part: Array) -> list[Array]:
        return self._gather(part)


def convert_sync_batchnorm(net: Layer, gather: Gather) -> Layer:
    """Return ``net`` with every BatchNorm2d in it replaced by one that uses ``gather``.

    ``flat_parameters`` is a new vector, so make the optimizer afterwards. A lone BatchNorm2d is not
    changed; a new layer is returned.
    """
    if type(net) is BatchNorm2d:
        return SyncBatchNorm2d(net, gather)
    for name, layer in net.layers.items():
        net.layers[name] = convert_sync_batchnorm(layer, gather)
    if not net.is_part:
        net.to(net.dtype)
    return net
