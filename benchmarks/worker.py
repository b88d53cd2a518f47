"""The process behind `benchmarks.harness.Worker`: one object, called over standard input.

Where the task is shared by several processes, this one is rank 0: it passes each call on, and all
make it alike; its own answer is the one that counts.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from training.environment import keep_freed_memory, prepare_blas

if TYPE_CHECKING:  # it imports NumPy, which is to be set up first
    from training.backends.ranks import Ranks


def main() -> None:
    """Answer one JSON line for each JSON line read, until there are no more."""
    # Libraries print where they like; the pipe to the parent carries answers only.
    answers = os.dup(1)
    os.dup2(2, 1)
    # Ctrl-C reaches the whole group of processes; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    setup = json.loads(sys.stdin.readline())
    threads = setup["threads"]
    if setup["blas_on_all"]:
        os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
    prepare_blas(setup["package"])
    if setup["keeps_memory"]:
        keep_freed_memory()
    if setup["pinned"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    run_on_ranks(partial(serve, setup, answers), threads if setup["processes"] else 1)


def run_on_ranks(program: Any, world: int) -> None:
    """Run the program on so many ranks, as training does; each makes its own images."""
    import numpy as np

    from training.backends.ranks import ALONE
    from training.backends.workers import other_cores
    from training.data import Dataset

    blank = np.zeros((1, 1, 1), np.uint8), np.zeros(1, np.int64)
    dataset = Dataset("mnist", *blank, *blank, source="")
    with other_cores(program, dataset, world) if world > 1 else nullcontext(ALONE) as ranks:
        program(dataset, ranks)


def serve(setup: dict[str, Any], answers: int, _: Any, ranks: Ranks) -> None:
    """Make the task, then call it until there are no more calls; rank 0 reads and answers them."""
    module, _, name = setup["target"].partition(":")
    shared: dict[str, Any] = {"ranks": ranks} if ranks.world > 1 else {}
    task: Any = None
    request: Any = setup
    answer: Any
    with os.fdopen(answers, "w", encoding="utf-8") as output:
        while request:
            arguments = request["arguments"]
            try:
                value: Any = None
                if task is None:
                    made = getattr(importlib.import_module(module), name)
                    task = made(threads=setup["threads"], **arguments, **shared)
                else:
                    value = getattr(task, request["method"])(**arguments)
                answer = {"value": value}
            except Exception as error:
                if ranks.rank > 0:
                    raise
                if not isinstance(error, ImportError):
                    traceback.print_exc()
                answer = {"error": f"{type(error).__name__}: {error}"}
            if ranks.rank == 0:
                output.write(json.dumps(answer) + "\n")
                output.flush()
            line = sys.stdin.readline() if ranks.rank == 0 else ""
            request = json.loads(ranks.broadcast_bytes(line.encode()) or "null")


if __name__ == "__main__":
    main()
