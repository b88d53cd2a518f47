"""A submission as the judge sees it: objects whose methods run in a process of their own.

Torch's numbers, the comparison and the points stay with the judge. All that a submission can say
is what it computed: how its process ends and what it prints change no point.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import numpy as np

from parity.grading import wire
from parity.protocol import ParityError, kind_of


class SubmissionError(ParityError):
    """A submission raised an exception, or its process is no more; one sentence says which."""


@dataclass(frozen=True)
class Limits:
    """A submission's time for all its answers, its address space, and what it cannot import."""

    seconds: float = 60
    mebibytes: int = 1024
    forbidden: tuple[str, ...] = ("torch", "jax", "tensorflow", "numpy_models")


class Submission:
    """A solution in a process of its own, which ends with this object.

    Attributes:
        ended: why there is no process any more, empty while there is one.
        trouble: the exceptions that it raised, a sentence each.
        unlimited: why its memory is not limited, empty where it is.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.limits, self.left = limits, 60 + limits.seconds  # Python's own start is not counted
        self.ended, self.trouble = "", list[str]()
        folder = TemporaryDirectory(ignore_cleanup_errors=True)
        words = [str(path.absolute()), str(limits.seconds), str(limits.mebibytes)]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        search = os.pathsep.join(map(os.path.abspath, sys.path))
        process = self.process = subprocess.Popen(
            [sys.executable, "-B", "-m", "parity.grading.host", *words, *limits.forbidden],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder.name,
            env=os.environ | threads | {"PYTHONPATH": search},
            start_new_session=True,
        )
        self.end = weakref.finalize(self, _end, process, folder)
        self.unlimited = self._exchange(b"")["value"]
        self.left = limits.seconds

    def __enter__(self) -> Submission:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def ask(self, what: str, operation: str, *arguments: Any) -> Any:
        """Have the process do something, which a sentence calls ``what``; return its result.

        Raises:
            SubmissionError: if that raises an exception, or the process is or comes to its end.
        """
        answer = self._exchange(wire.pack([operation, *arguments], _number))
        if "value" in answer:
            return answer["value"]
        self.trouble.append(f"{what} raised {answer['raised']}")
        raise SubmissionError(self.trouble[-1])

    def _exchange(self, request: bytes) -> dict[str, Any]:
        if not self.ended:
            lines: list[bytes] = []
            asking = Thread(target=self._converse, args=(request, lines), daemon=True)
            start = time.perf_counter()
            asking.start()
            asking.join(self.left)
            self.left -= time.perf_counter() - start
            try:
                if lines and lines[0].endswith(b"\n"):
                    answer = wire.unpack(lines[0], lambda words: _remote(self, *words))
                    if answer.keys() in ({"value"}, {"raised"}):
                        return answer
                self.ended = "its process ended before it answered"
            except Exception:  # whoever forges answers can make up anything
                self.ended = "its process gave an invalid answer"
            if asking.is_alive():
                self.ended = f"it took longer than {self.limits.seconds:g} s"
            self.end()
        raise SubmissionError(self.ended)

    def _converse(self, request: bytes, lines: list[bytes]) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(OSError):  # it has ended
            self.process.stdin.write(request)
            self.process.stdin.flush()
            lines.append(self.process.stdout.readline(self.limits.mebibytes << 20))


def _end(process: subprocess.Popen, folder: TemporaryDirectory) -> None:
    """Kill a process and those that it started, unless they left its group."""
    with suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
    process.wait()
    folder.cleanup()


class Remote:
    """An object of a submission's process.

    What the judge writes into the arrays that ``parameters`` and ``buffers`` last returned is sent
    with the next call. A backward that fails gives NaN, so that forward is judged all the same.
    """

    def __init__(self, submission: Submission, number: int) -> None:
        self._submission, self._number = submission, number
        self._held: dict[str, dict[str, Any]] = {}
        self._dx: np.ndarray | None = None

    def __getattr__(self, name: str) -> Any:
        found = [] if name[0] == "_" else self._submission.ask(name, "get", self, name)
        if not found:
            raise AttributeError(f"{type(self).__name__} has no {name}")
        return found[0]

    def __deepcopy__(self, memo: dict) -> Remote:
        return self._submission.ask("copying it", "copy", self)

    def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        what, words = f"{type(self).__name__}.{name}", [arguments, options]
        try:
            answer = self._submission.ask(what, "call", self, name, words, self._held)
        except SubmissionError:
            if name == "backward" and self._dx is not None:
                return self._dx
            if name == "gradients":  # which backward sets
                parameters = self._held["parameters"].items()
                return {place: np.full_like(array, np.nan) for place, array in parameters}
            raise
        value, changed, state = answer
        for array, after in zip(wire.arrays(words), changed, strict=True):
            array[...] = after
        if name in ("parameters", "buffers"):
            self._held[name] = {k: v for k, v in value.items() if isinstance(v, np.ndarray)}
            return value
        for kind, held in self._held.items():
            for place, array in held.items():
                array[...] = state[kind][place]
        if name == "forward":
            self._dx = np.full_like(arguments[0], np.nan)
        return value


def _remote(submission: Submission, number: int, kind: str, methods: list[str]) -> Remote:
    """Return an object's proxy, of a class with the name and methods of the object's own."""

    def method(name: str) -> Callable[..., Any]:
        return lambda self, *arguments, **options: self._call(name, *arguments, **options)

    public = {name: method(name) for name in methods if not name.startswith("_")}
    title = "solution" if kind == "module" else str(kind)
    return type(title, (Remote,), public)(submission, int(number))


def _number(value: Any) -> Any:
    """Refer to an object of the process by its number."""
    if isinstance(value, Remote):
        return value._number
    raise ParityError(f"{kind_of(value)} cannot be passed to a submission: give numbers and arrays")
