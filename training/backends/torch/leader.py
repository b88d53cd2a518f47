"""One run in several processes, on one machine or on many.

torchrun, or whatever else sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, starts the same
command in each. The first process leads: it runs the ordinary program, and its backend is a
`Leader`, which tells the others what it is asked to do. The others follow: they do as they are
told, and neither read a configuration nor write a file. What is told, configuration and data set
included, is pickled, so the processes must trust one another.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from types import FrameType
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from training.backends.protocol import EpochPlan, LayerRow, State, Totals
from training.backends.torch.backend import TorchBackend
from training.backends.torch.processes import LEAVE, Processes
from training.config.schema import Config
from training.data import Dataset
from training.errors import ConfigError, ProcessError


class Leader:
    """The first process's backend: its own part, and word to the others.

    Raises:
        ConfigError: as `TorchBackend`.
    """

    name = TorchBackend.name

    def __init__(self, config: Config) -> None:
        self._processes = _all_processes()
        self._own = TorchBackend(config, self._processes)
        # All on the device that was chosen here, or none.
        self._config = replace(config, device=self._own.device)
        self.device, self.threads = self._own.device, self._own.threads
        self.steps_per_call, self.notes = self._own.steps_per_call, self._own.notes

    def place(self, dataset: Dataset) -> None:
        """Wait for the other processes and give all of them the configuration and the images."""
        self._own.place(dataset)
        self._processes.join()
        with self._processes.watched():
            self._processes.tell("open", self._config)
            self._processes.use(self.device)
            self._processes.tell("place", dataset)

    def begin_epoch(self, plan: EpochPlan, totals: Totals) -> None:
        """Give all processes the plan."""
        self._all("begin_epoch", plan, totals)

    def train(self, first: int, last: int) -> None:
        """Take the plan's steps first..last-1 together."""
        self._all("train", first, last)

    def totals(self) -> Totals:
        """Return the epoch's sums so far, over all processes."""
        return self._all("totals")

    def end_epoch(self) -> None:
        """Advance every process's schedule."""
        self._all("end_epoch")

    def evaluate(self, first_training: int | None = None) -> NDArray[np.float32]:
        """Return logits (N, 10), of which each process computes a part."""
        return self._all("evaluate", first_training)

    @property
    def lr(self) -> float:
        """Return the current learning rate."""
        return self._own.lr

    def weights(self) -> State:
        """Return copies of this process's parameters and buffers."""
        return self._own.weights()

    def state(self) -> State:
        """Return a copy of this process's state, which is that of all."""
        return self._own.state()

    def load_state(self, state: State) -> None:
        """Continue from a state; the others take it if this process can."""
        self._own.load_state(state)
        with self._processes.watched():
            self._processes.tell("load_state", state)

    def layer_table(self) -> list[LayerRow]:
        """Return the layers in order with their output shapes and parameter counts."""
        return self._own.layer_table()

    def _all(self, name: str, *arguments: Any) -> Any:
        with self._processes.watched():
            self._processes.tell(name, *arguments)
            return getattr(self._own, name)(*arguments)


@contextmanager
def followers() -> Iterator[None]:
    """Let the other processes go when the block ends, however it ends."""
    processes = _all_processes()
    before = signal.getsignal(signal.SIGTERM)
    if before == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, partial(_end, processes))
    try:
        yield
        processes.join()  # those that have had nothing to do wait all the same
    except SystemExit as end:
        if not end.code:
            processes.join()
        raise
    finally:
        processes.dismiss()
        if not processes.lost:
            signal.signal(signal.SIGTERM, before)


def _end(processes: Processes, number: int, _: FrameType | None) -> None:
    """End this process at a signal, but not when it is about to say which process is lost."""
    if not processes.lost:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


def follow() -> NoReturn:
    """Do as the leader says until it lets this process go; print nothing but a reason to fail."""
    # Until all have met, an end of the leader ends this process through torchrun's signal.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    processes = _all_processes()
    try:
        processes.join()
        # A signal to the job is the leader's to answer: it first saves, for which it needs all.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        with processes.watched():
            _obey(processes)
    except (Exception, ProcessError) as error:
        if os.environ.get("HYDRA_FULL_ERROR"):
            traceback.print_exc()
        text = str(error).strip().partition("\n")[0]
        kind = "" if isinstance(error, (ConfigError, ProcessError)) else f"{type(error).__name__}: "
        print(f"train.py: rank {processes.shard.rank}: {kind}{text}", file=sys.stderr, flush=True)
        # Waiting for others, as an ordinary exit may, would hold up the end of the job.
        os._exit(1)
    sys.exit(0)


def _obey(processes: Processes) -> None:
    backend: TorchBackend | None = None
    while True:
        name, *arguments = processes.hear()
        if name == LEAVE:
            processes.part()
            return
        if name == "open":
            backend = TorchBackend(arguments[0], processes)
            processes.use(backend.device)
        else:
            getattr(backend, name)(*arguments)


@lru_cache
def _all_processes() -> Processes:
    return Processes()
