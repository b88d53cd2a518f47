"""Batch normalisation over a batch that is spread over several processes.

The moments of the whole batch follow from everybody's, and so do the two sums that its backward
needs. Every process merges the same parts in the same order: statistics, running ones included,
are equal everywhere to the last bit. Gradients of γ and β stay those of the own part, as all other
layers' do: adding them up over the processes is the trainer's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy_models.batchnorm import BatchNorm2d
from numpy_models.layer import Array, Layer

Gather = Callable[[Array], list[Array]]


class SyncBatchNorm2d(BatchNorm2d):
    """:class:`numpy_models.BatchNorm2d` over all processes, as ``torch.nn.SyncBatchNorm``.

    Args:
        num_features, **options: as for ``BatchNorm2d``.
        gather: given this process's array, returns every process's, in their order; all processes
            call it equally often: once in a training ``forward``, once in its ``backward``.
    """

    def __init__(self, num_features: int, *, gather: Gather, **options: Any) -> None:
        super().__init__(num_features, **options)
        self._gather = gather

    def gather(self, part: Array) -> list[Array]:
        return self._gather(part)


def convert_sync_batchnorm(net: Layer, gather: Gather) -> Layer:
    """Return ``net`` with every BatchNorm2d in it replaced by one that uses ``gather``.

    Parameters, statistics and modes stay; ``flat_parameters`` is a new vector, so an optimizer is
    made afterwards. A lone BatchNorm2d is not changed but comes back as a new layer.
    """
    if type(net) is BatchNorm2d:
        synchronised = SyncBatchNorm2d(
            net.num_features,
            gather=gather,
            eps=net.eps,
            momentum=net.momentum,
            affine=bool(net.parameters()),
            track_running_stats=bool(net.buffers()),
        )
        synchronised.to(net.dtype).load_state_dict(net.state_dict())
        return synchronised.train(net.training)
    for name, layer in net.layers.items():
        net.layers[name] = convert_sync_batchnorm(layer, gather)
    if not net.is_part:
        net.to(net.dtype)
    return net
