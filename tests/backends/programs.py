"""What tests have several ranks do; spawned processes import it from here.

Run as `python -m tests.backends.programs <start method> <ranks>`, it trains until it is killed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.backends import workers
from training.backends.opening import open_backend
from training.backends.protocol import EpochPlan, State, Totals
from training.backends.ranks import Ranks
from training.config.schema import Config
from training.data import Dataset, draw_moves, inverse_affine


def run_on_cores(program: Callable[[Dataset, Ranks], Any], dataset: Dataset, world: int) -> Any:
    """Call a program on so many ranks; return what rank 0's call returns."""
    with workers.other_cores(program, dataset, world) as ranks:
        return program(dataset, ranks)


def exchange_everything(dataset: Dataset, ranks: Ranks) -> None:
    """Every kind of exchange, with the result that it must have on each rank."""
    rank, world = ranks.rank, ranks.world
    assert dataset.train_images.sum() > 0
    values = np.arange(1000, dtype=np.float64)
    whole = values * sum(range(1, world + 1))
    np.testing.assert_array_equal(ranks.all_reduce(values * (rank + 1)), whole)
    scalar = ranks.all_reduce(np.array(rank, np.int64))
    assert (scalar.shape, int(scalar)) == ((), sum(range(world)))
    gathered = ranks.all_gather(np.full((2, 300), rank, np.float32))
    assert [array.shape for array in gathered] == [(2, 300)] * world
    assert [int(array[1, 299]) for array in gathered] == list(range(world))
    first = values + rank
    ranks.broadcast(first)
    np.testing.assert_array_equal(first, values)
    content = bytes(range(256)) * 9
    assert ranks.broadcast_bytes(content if rank == 0 else b"") == content
    assert ranks.broadcast_bytes(b"") == b""
    assert ranks.any(rank == world - 1)
    assert not ranks.any(False)


def sums_at_random_moments(dataset: Dataset, ranks: Ranks, rounds: int = 200) -> list[float]:
    """Sums of arrays that are handed in early by one rank and late by another."""
    pause, sums = random.Random(ranks.rank), []
    for number in range(rounds):
        array = np.full(5000, number * (ranks.rank + 1), np.float32)
        if pause.random() < 0.3:
            time.sleep(pause.uniform(0, 0.001))
        sums.append(float(ranks.all_reduce(array).sum()) / 5000)
    return sums


def fail(dataset: Dataset, ranks: Ranks, kind: str, rank: int) -> None:
    """Exchange something; then have one rank fail, or be killed, and the others wait for it."""
    ranks.barrier()
    if ranks.rank == rank:
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "leave":
            return
        raise ValueError("the fault\nin two lines")
    ranks.barrier()


Trained = tuple[Totals, NDArray[np.float32], State]


def train(
    dataset: Dataset, ranks: Ranks, config: Config, offsets: list[int], stop: int | None = None
) -> Trained:
    """Train an epoch with these batches; after step `stop`, by another backend that takes over.

    Returns:
        The sums, the test images' logits and the state, which all ranks have alike.
    """
    indices = np.random.default_rng(3).integers(0, len(dataset.train_labels), offsets[-1])
    flips = np.random.default_rng(4).random(offsets[-1]) < 0.5
    moves = None
    if config.data.shift:
        drawn = draw_moves(len(flips), 2.0, 20.0, np.random.default_rng(5))
        moves, flips = inverse_affine(drawn, flips), None
    plan = EpochPlan(indices, np.array(offsets), flips, first_step=7, moves=moves)
    backend = open_backend(config, ranks)
    backend.place(dataset)
    backend.begin_epoch(plan, Totals())
    done = 0
    if stop is not None:
        backend.train(0, stop)
        state, totals = backend.state(), backend.totals()
        backend, done = open_backend(config, ranks), stop
        backend.place(dataset)
        backend.load_state(state)
        backend.begin_epoch(plan, totals)
    backend.train(done, plan.steps)
    backend.end_epoch()
    state = backend.state()
    for array in state.values():
        for other in ranks.all_gather(np.ascontiguousarray(array)):
            np.testing.assert_array_equal(other, array)
    return backend.totals(), backend.evaluate(), state


def train_for_ever(dataset: Dataset, ranks: Ranks) -> None:
    """Exchange sums, once the processes have been told."""
    pids = ranks.all_gather(np.array(os.getpid()))
    if ranks.rank == 0:
        print(*map(int, pids), flush=True)
    while True:
        ranks.all_reduce(np.ones(1000, np.float32))


if __name__ == "__main__":
    method, world = sys.argv[1], int(sys.argv[2])
    workers.start_method = lambda: method
    empty, none = np.ones((1, 28, 28), np.uint8), np.zeros(1, np.int64)
    images = Dataset("none", empty, none, empty, none, "")
    run_on_cores(partial(train_for_ever), images, world)
