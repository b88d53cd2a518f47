"""How everything here is measured: one fresh process per implementation, in interleaved rounds.

A worker process sets its thread and BLAS settings before it imports anything, then answers calls
over pipes (`benchmarks.worker`). Rounds go A, B, C, then B, C, A, then C, A, B: whatever slows the
machine for a while meets every implementation, and the ratio within a round cancels most of it.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Self, TypeVar

ROOT = Path(__file__).resolve().parent.parent
Value = TypeVar("Value")
#: Seconds in which a process may end by itself.
PATIENCE = 5


class BenchmarkError(RuntimeError):
    """A benchmark that cannot give a result; the message says why in one sentence."""


@dataclass(frozen=True)
class Implementation:
    """One of the things compared.

    Attributes:
        name: as tables show it.
        target: "module:Class" of the `benchmarks.task.Task` that the worker makes.
        package: what has to be installed; NumPy's BLAS has one thread, as in training.
        blas_on_all: whether NumPy's BLAS has all of the worker's threads instead.
        arguments: of the class, beside those of `Worker`.
        processes: whether each core has a process of its own instead of a thread: the task is then
            made and called in all of them alike, and shares its work by its `ranks`.
        pinned: whether the process is confined to as many cores as it has threads, for libraries
            that have no setting for it.
        keeps_memory: whether the C library keeps freed memory, where it can be told to.
        optional: whether it may fail to start, and is then reported as not measured.
    """

    name: str
    target: str
    package: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    blas_on_all: bool = False
    processes: bool = False
    pinned: bool = False
    keeps_memory: bool = False
    optional: bool = False

    @property
    def installed(self) -> bool:
        """Return whether the package can be imported here."""
        return importlib.util.find_spec(self.package) is not None


class Worker:
    """A process that holds one implementation and answers calls; a context manager.

    Raises:
        BenchmarkError: if it cannot start, a call fails in it, or it dies.
    """

    def __init__(self, implementation: Implementation, threads: int, **arguments: Any) -> None:
        self.name = implementation.name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        try:
            given = {**implementation.arguments, **arguments}
            self._ask(asdict(implementation) | {"threads": threads, "arguments": given})
        except BaseException:
            self.close()
            raise

    def call(self, method: str, **arguments: Any) -> Any:
        """Return what the method of the worker's object returns, JSON values both ways."""
        return self._ask({"method": method, "arguments": arguments})

    def close(self) -> None:
        """End the process: it leaves by itself where it can, so that its time is known."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with suppress(BrokenPipeError):
                    stream.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self._process.wait()
            raise BenchmarkError(f"{self.name}: its process ended with status {code}")
        answer = json.loads(line)
        if "error" in answer:
            raise BenchmarkError(f"{self.name}: {answer['error']}")
        return answer["value"]


def start_workers(
    stack: ExitStack,
    implementations: Sequence[Implementation],
    threads: int,
    absent: dict[str, str] | None = None,
    **arguments: Any,
) -> dict[str, Worker]:
    """Start a worker per implementation, by name; they end with the stack.

    The reasons of the optional ones that did not start go to `absent`.
    """
    workers = {}
    for one in implementations:
        try:
            workers[one.name] = stack.enter_context(Worker(one, threads, **arguments))
        except BenchmarkError as error:
            if not one.optional or absent is None:
                raise
            absent[one.name] = str(error)
    return workers


def interleaved(
    measurements: Mapping[str, Callable[[], Value]], rounds: int
) -> dict[str, list[Value]]:
    """Take each measurement once a round, starting one further along every round."""
    results: dict[str, list[Value]] = {name: [] for name in measurements}
    names = list(measurements)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            results[name].append(measurements[name]())
    return results


def measure(
    workers: Mapping[str, Worker], kind: str, rounds: int, seconds: float | None
) -> dict[str, list[float]]:
    """Return each worker's seconds per run of `kind`, one value a round.

    Args:
        workers: workers of `benchmarks.task.Task` objects.
        kind: which of the task's runs, for example "step".
        rounds: how many interleaved rounds.
        seconds: about how long one measurement lasts, after as much warming up; None for a single
            run each, of something long that has run before.
    """
    calls = {}
    for name, worker in workers.items():
        run = partial(worker.call, "seconds", kind=kind)
        count, spent = 1, 0.0
        if seconds is not None:  # how many runs last about as long as warming up does
            run(count=1)
            count = 0
            while spent < seconds:
                spent += run(count=1)
                count += 1
        calls[name] = partial(run, count=count)
    return interleaved(calls, rounds)


def samples(values: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """Return each implementation's values, of which there is at least one, for the record."""
    return {name: {"median": median(each), "values": list(each)} for name, each in values.items()}
