"""The stacks of layers that carry the shards of a batch, each on its thread.

The first shard runs on the network's own layers. Every other one has replicas that share
parameters and buffers with them but have gradients and memory of their own; the gradients are
added up at the end, in the order of the shards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from numpy_models.layer import Array, Layer
from numpy_models.sharding import Rendezvous, ShardThreads, shard_bounds
from numpy_models.workspace import Workspace

Views = Callable[[Array, Array], Iterator[tuple[Layer, str, Array, Array]]]


class Stack:
    """One shard's layers, their gradients in one vector, and the memory its batches enter."""

    def __init__(self, layers: dict[str, Layer], flat_gradients: Array) -> None:
        self.layers, self.flat_gradients = layers, flat_gradients
        self._entries: dict[str, Array] = {}

    def enter(self, name: str, values: Array) -> Array:
        """Return a contiguous copy of ``values``, kept until the next batch: never the caller's."""
        held = self._entries.get(name)
        if held is None or held.shape != values.shape:
            held = self._entries[name] = np.empty(values.shape, self.flat_gradients.dtype)
        held[...] = values
        return held


class Shards:
    """Splits batches over stacks of layers and threads.

    Args:
        layers: the network's own layers.
        flat_gradients: the vector that holds the network's gradients.
        views: places of all parameters and gradients in two such vectors.
        threads: how many threads share the work.
    """

    def __init__(
        self, layers: dict[str, Layer], flat_gradients: Array, views: Views, threads: int
    ) -> None:
        self._views = views
        self._stacks = [Stack(layers, flat_gradients)]
        self._bounds: list[tuple[int, int]] = []
        self._synchronised = any(layer.synchronises for layer in layers.values())
        self._rendezvous: Rendezvous | None = None
        self._runner = ShardThreads(threads)
        self._workspaces = [Workspace() for _ in range(threads)]

    def split(self, samples: int, training: bool) -> None:
        """Prepare the stacks for a batch of ``samples``, in training mode or not."""
        self._bounds = shard_bounds(samples, self._runner.threads, self._synchronised)
        count = len(self._bounds)
        while len(self._stacks) < count:
            self._stacks.append(self._replica())
        if self._synchronised:
            self._rendezvous = Rendezvous(count)
        for shard, stack in enumerate(self._stacks[:count]):
            workspace = self._workspaces[self._runner.worker_of(shard, count)]
            for layer in stack.layers.values():
                layer.workspace, layer.training = workspace, training
                if layer.synchronises and self._rendezvous:
                    layer.primary = shard == 0
                    layer.exchange = partial(self._rendezvous.exchange, shard)

    def run(self, task: Callable[[Stack, int, int], None]) -> None:
        """Call ``task(stack, start, stop)`` for every shard, on its thread.

        Infinities and NaN travel through a network silently, as in torch.
        """

        def work(shard: int) -> None:
            with np.errstate(all="ignore"):
                task(self._stacks[shard], *self._bounds[shard])

        abort = self._rendezvous.abort if self._rendezvous else lambda: None
        self._runner.run(work, len(self._bounds), abort)

    def add_up_gradients(self) -> None:
        """Add the replicas' gradients to the network's own, in the order of the shards."""
        total = self._stacks[0].flat_gradients
        for stack in self._stacks[1 : len(self._bounds)]:
            total += stack.flat_gradients

    def _replica(self) -> Stack:
        layers, flat = self._stacks[0].layers, self._stacks[0].flat_gradients
        gradients = np.zeros_like(flat)
        own: dict[int, dict[str, Array]] = {id(layer): {} for layer in layers.values()}
        for layer, name, _, gradient in self._views(flat, gradients):
            own[id(layer)][name] = gradient
        return Stack({n: layer.replica(own[id(layer)]) for n, layer in layers.items()}, gradients)


def batch_last(public: Array) -> Array:
    """Return (N, C, H, W) as (H, C, W, N), (N, F) as (F, N); a view."""
    return public.transpose(2, 1, 3, 0) if public.ndim == 4 else public.T


def batch_first(inside: Array) -> Array:
    """Return (H, C, W, N) as (N, C, H, W), (F, N) as (N, F); a view."""
    return inside.transpose(3, 1, 0, 2) if inside.ndim == 4 else inside.T
