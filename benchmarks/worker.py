"""The process behind `benchmarks.harness.Worker`: one object, called over standard input."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
from typing import Any

from training.environment import keep_freed_memory, prepare_blas


def main() -> None:
    """Answer one JSON line for each JSON line read, until there are no more."""
    # Libraries print where they like; the pipe to the parent carries answers only.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # Ctrl-C reaches the whole group of processes; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    task: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        value = None
        try:
            if task is None:
                task = make_task(**request)
            else:
                value = getattr(task, request["method"])(**request["arguments"])
            answer = {"value": value}
        except Exception as error:
            if not isinstance(error, ImportError):
                traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def make_task(
    target: str,
    blas: str,
    pinned: bool,
    keeps_memory: bool,
    threads: int,
    arguments: dict[str, Any],
) -> Any:
    """Set up this process as `benchmarks.harness.Implementation` says, then make the object."""
    if blas != "default":
        if blas == "all":
            os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
        prepare_blas("numpy")
    if keeps_memory:
        keep_freed_memory()
    if pinned and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)(threads=threads, **arguments)


if __name__ == "__main__":
    main()
