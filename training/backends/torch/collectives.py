"""What the processes of a run do together; for one process alone, nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Shard:
    """The part of every batch that one of several processes trains on."""

    rank: int = 0
    world: int = 1

    def part(self, size: int) -> slice:
        """Return which of size images are this process's; the parts differ by one at most."""
        return slice(size * self.rank // self.world, size * (self.rank + 1) // self.world)


class OneProcess:
    """The run's only process.

    Attributes:
        shard: the part of every batch that is this process's.
    """

    shard = Shard()

    def notes(self, net: nn.Module) -> tuple[str, ...]:
        """Return what a reader of the run's record has to know."""
        return ()

    def exchange_batch_norm(self, net: nn.Module, kind: str) -> None:
        """Have the network's batch normalisation see the whole batch, or a part."""

    def add_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Add up the processes' gradients."""

    def sum(self, part: Tensor) -> Tensor:
        """Return the sum over the processes, of any shape."""
        return part

    def gather(self, rows: Tensor, count: int) -> Tensor:
        """Return all `count` rows, (count, ...), of which each process has its shard's part."""
        return rows

    def agree(self, net: nn.Module) -> None:
        """Give the network the first process's buffers."""


ALONE = OneProcess()
