"""What several processes do together, over torch.distributed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from training import environment
from training.backends.torch import batch_norm
from training.backends.torch.collectives import OneProcess, Shard
from training.errors import ConfigError, ProcessError

#: How long one process waits for another that is silent; one whose connection breaks is noticed
#: at once.
TIMEOUT = timedelta(minutes=10)
#: How long the leader waits, in the end, until all know that it is the end.
FAREWELL = timedelta(seconds=20)

LEAVE = "leave"


class Processes(OneProcess):
    """All processes of the run, this one among them.

    Objects go through gloo, tensors through gloo or, on CUDA, NCCL.

    Attributes:
        lost: whether an exchange has failed, after which there can be no other.
    """

    def __init__(self) -> None:
        self.shard = Shard(environment.rank(), environment.processes())
        self._joined = False
        self.lost = False
        self._nccl: Any = None
        self._tensors: Any = None

    def join(self) -> None:
        """Wait until all processes are there; at once when they have been before.

        Raises:
            ConfigError: if it is not said where they are to meet.
            ProcessError: if they do not come.
        """
        if self._joined:
            return
        missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
        if missing:
            raise ConfigError(
                f"WORLD_SIZE={self.shard.world} is set and {missing[0]} is not: start several "
                "processes with torchrun, or unset WORLD_SIZE"
            )
        with self.watched():
            dist.init_process_group("gloo", timeout=TIMEOUT)
        self._joined = True

    def use(self, device: str) -> None:
        """Choose how tensors travel; all processes have to do so at the same point."""
        if device == "cuda" and self._nccl is None:
            self._nccl = dist.new_group(backend="nccl", timeout=TIMEOUT)
        self._tensors = self._nccl if device == "cuda" else None

    def tell(self, *message: Any) -> None:
        """Send a message to the followers."""
        dist.broadcast_object_list([message], device=torch.device("cpu"))

    def hear(self) -> tuple[Any, ...]:
        """Return the leader's next message."""
        box: list[Any] = [None]
        dist.broadcast_object_list(box, device=torch.device("cpu"))
        return box[0]

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Turn a broken connection into a sentence, and remember it.

        Raises:
            ProcessError: instead of what torch raises.
        """
        try:
            yield
        except BaseException as error:
            self.lost = True
            reason = explain(error, self.shard.world)
            if reason is None:
                raise
            raise ProcessError(reason) from error

    def dismiss(self) -> None:
        """Let the followers go, unless one is lost: then the connections break with this process.

        Those that have never been met are left to torchrun.
        """
        if not self._joined or self.lost:
            return
        with suppress(RuntimeError):
            self.tell(LEAVE)
            self.part()

    def part(self) -> None:
        """Wait until all are here, and end the connections."""
        dist.monitored_barrier(timeout=FAREWELL)
        dist.destroy_process_group()

    def notes(self, net: nn.Module) -> tuple[str, ...]:
        """Say how many processes there are, how they speak, and what batch normalisation sees."""
        through = "NCCL" if next(net.parameters()).is_cuda else "gloo"
        machines = int(os.environ.get("GROUP_WORLD_SIZE", 1))
        place = f" on {machines} machines" if machines > 1 else ""
        kinds = {type(module) for module in net.modules()}
        norm = ""
        if batch_norm.SynchronisedBatchNorm2d in kinds:
            norm = "; batch normalisation synchronised"
        elif batch_norm.LocalBatchNorm2d in kinds:
            norm = "; batch normalisation local, the first process's statistics are kept"
        return (f"{self.shard.world} processes{place}, {through}{norm}",)

    def exchange_batch_norm(self, net: nn.Module, kind: str) -> None:
        """Have batch normalisation see the whole batch ("synchronised") or a part ("local")."""
        batch_norm.exchange(net, kind, self.sum)

    def add_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Add up the processes' gradients.

        They travel as one vector. DistributedDataParallel, whose overlap with the backward pass
        does not pay off for so few parameters, regroups them after its first step: with more than
        two processes a resumed run would not be the same to the last bit.
        """
        vector = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
        dist.all_reduce(vector, group=self._tensors)
        parts = vector.split([p.numel() for p in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)

    def sum(self, part: Tensor) -> Tensor:
        """Return the sum over the processes, of any shape."""
        whole = part.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(whole, group=self._tensors)
        return whole

    def gather(self, rows: Tensor, count: int) -> Tensor:
        """Return all `count` rows, (count, ...), of which each process has its shard's part."""
        whole = rows.new_zeros(count, *rows.shape[1:])
        whole[self.shard.part(count)] = rows
        dist.all_reduce(whole, group=self._tensors)
        return whole

    def agree(self, net: nn.Module) -> None:
        """Give the network the first process's buffers."""
        for buffer in net.buffers():
            dist.broadcast(buffer, 0, group=self._tensors)


def explain(error: BaseException, world: int) -> str | None:
    """Return what a failed exchange means, or None if error is something else."""
    text = str(error).lower()
    spoken = isinstance(error, dist.DistError) or "gloo" in text or "connection" in text
    if not (isinstance(error, RuntimeError) and spoken):
        return None
    if "timed out" in text or "timeout" in text:
        minutes = TIMEOUT.seconds // 60
        return f"another of the {world} processes has not answered for {minutes} minutes"
    return f"another of the {world} processes is gone: it was killed, or told its reason itself"
