"""Processes that need not import anything: forked from one that has, they start in milliseconds.

A new `python train.py` spends three seconds of a processor on imports, with torch six. Tests of
what a process does, when it is killed, say, or with its signals and streams, need none of that;
those of how one starts run train.py itself (`tests.support.train_py`).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support import ROOT

#: What train.py imports, sooner or later; a missing module is passed over.
IMPORTED = (
    *("pytest", "sklearn.datasets", "matplotlib.pyplot", "torch._dynamo", "studies.page"),
    *("training.cli.main", "training.trainer.pictures", "training.trainer.trainer"),
    *("training.backends.numpy", "training.backends.torch.distributed"),
    *("tests.forked", "tests.faults.savers"),
)


def server() -> ForkServerContext:
    """Return the context of processes that are forked from the server, which runs then."""
    context = multiprocessing.get_context("forkserver")
    with contextlib.chdir(ROOT), pytest.MonkeyPatch.context() as patch:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # others a fork would lose
            patch.setenv(name, "1")
        context.set_forkserver_preload(list(IMPORTED))
        forkserver.ensure_running()
    return context


def train() -> None:
    """Do as train.py, with what the environment asks `tests.backends.faulty_rank` for."""
    from tests.backends.faulty_rank import arrange
    from training.cli.main import main

    arrange()
    main()


class Forked:
    """A process that calls a program with arguments as its command line.

    Attributes:
        process: what multiprocessing knows of it.
        output: the file of its standard output.
        errors: the file of its standard error.
    """

    def __init__(
        self, cwd: Path, program: Callable[[], None], *arguments: str, **environment: str
    ) -> None:
        self._folder = TemporaryDirectory()
        self.output, self.errors = (Path(self._folder.name, name) for name in ("1", "2"))
        self.output.touch()
        self.errors.touch()
        streams = self.output, self.errors
        self._arguments = [str(ROOT / "train.py"), *arguments]
        given = program, cwd, self._arguments, os.environ | environment, streams
        self.process = server().Process(target=_call, args=given)
        self.process.start()

    def end(self, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """Wait for its end; it is killed if it takes longer."""
        self.process.join(seconds)
        status = self.process.exitcode
        self.process.kill()
        texts = self.output.read_text(), self.errors.read_text()
        assert status is not None, f"{self._arguments} took more than {seconds} s: {texts}"
        return subprocess.CompletedProcess(self._arguments, status, *texts)


def run(
    cwd: Path, program: Callable[[], None], *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Call a program in a process of its own and wait for its end."""
    return Forked(cwd, program, *arguments, **environment).end()


class ForkedWorker:
    """What benchmarks.harness takes for the subprocess of a `benchmarks.worker`."""

    def __init__(self, *_: object, **__: object) -> None:
        context = server()
        requests, theirs = context.Pipe(duplex=False)
        answers, told = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(requests, told))
        self._process.start()
        self.stdin = open(os.dup(theirs.fileno()), "w", encoding="utf-8")  # noqa: SIM115
        self.stdout = open(os.dup(answers.fileno()), encoding="utf-8")  # noqa: SIM115

    def wait(self, timeout: float | None = None) -> int | None:
        self._process.join(timeout)
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()


def _work(requests: Connection, answers: Connection) -> None:
    from benchmarks.worker import main

    os.dup2(answers.fileno(), 1)
    sys.stdin = open(requests.fileno(), encoding="utf-8", closefd=False)  # noqa: SIM115
    main()


def _call(
    program: Callable[[], None],
    cwd: Path,
    arguments: list[str],
    environment: dict[str, str],
    streams: tuple[Path, Path],
) -> None:
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(streams, 1):
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    sys.argv = arguments
    program()
