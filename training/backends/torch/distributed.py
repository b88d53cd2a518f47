"""Ranks that torchrun starts, on one machine or on many, over torch.distributed.

torchrun, or whatever else sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, starts the same
command on every rank. Tensors on the CPU travel over gloo, on CUDA over NCCL; nothing is pickled.
"""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from training import environment
from training.backends.ranks import Ranks
from training.errors import ConfigError, ProcessError

#: How long one process waits for another that is silent; one whose connection breaks is noticed
#: at once.
TIMEOUT = timedelta(minutes=10)


class DistributedRanks(Ranks):
    """This rank among those that torchrun has started.

    The first one waits until all processes have come; they stay connected until this one ends.

    Raises:
        ConfigError: if it is not said where they are to meet.
        ProcessError: if they do not come.
    """

    def __init__(self) -> None:
        self.rank, self.world = environment.rank(), environment.processes()
        machines = int(os.environ.get("GROUP_WORLD_SIZE", 1))
        self.note = f"{self.world} processes{f' on {machines} machines' if machines > 1 else ''}"
        self._lost = False
        self._nccl: Any = None
        missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
        if missing:
            raise ConfigError(
                f"WORLD_SIZE={self.world} is set and {missing[0]} is not: start several processes "
                "with torchrun, or unset WORLD_SIZE"
            )
        with self._watched():
            dist.init_process_group("gloo", timeout=TIMEOUT)
        atexit.register(self._part)
        if self.rank == 0 and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._end)

    def all_reduce(self, array: Any) -> Any:
        tensor = torch.as_tensor(array)  # which shares a NumPy array's memory
        with self._watched():
            dist.all_reduce(tensor, group=self._group(tensor))
        return array

    def all_gather(self, array: Any) -> list[Any]:
        tensor = torch.as_tensor(array)
        gathered = [torch.empty_like(tensor) for _ in range(self.world)]
        with self._watched():
            dist.all_gather(gathered, tensor, group=self._group(tensor))
        return gathered if tensor is array else [each.numpy() for each in gathered]

    def broadcast(self, array: Any) -> None:
        tensor = torch.as_tensor(array)
        with self._watched():
            dist.broadcast(tensor, 0, group=self._group(tensor))

    def _group(self, tensor: Tensor) -> Any:
        """Return the group over which a tensor travels: None for gloo's, which all belong to."""
        if tensor.is_cuda and self._nccl is None:
            self._nccl = dist.new_group(backend="nccl", timeout=TIMEOUT)
        return self._nccl if tensor.is_cuda else None

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Turn a broken connection into a ProcessError, and remember it."""
        try:
            yield
        except RuntimeError as error:
            reason = explain(error, self.world)
            if reason is None:
                raise
            self._lost = True
            raise ProcessError(reason) from error

    def _end(self, number: int, _: FrameType | None) -> None:
        """End rank 0 at torchrun's signal, unless it is about to say that another rank is gone."""
        if not self._lost:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def _part(self) -> None:
        """End the connections when the process ends; those to a lost rank break with it."""
        if not self._lost:
            with suppress(RuntimeError):
                dist.destroy_process_group()


def explain(error: BaseException, world: int) -> str | None:
    """Return what a failed exchange means, or None if error is something else."""
    text = str(error).lower()
    spoken = isinstance(error, dist.DistError) or "gloo" in text or "connection" in text
    if not (isinstance(error, RuntimeError) and spoken):
        return None
    if "timed out" in text or "timeout" in text:
        minutes = TIMEOUT.seconds // 60
        return f"another of the {world} processes has not answered for {minutes} minutes"
    return f"another of the {world} processes is gone: it was killed, or gave its reason itself"
