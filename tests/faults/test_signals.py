"""The first SIGINT or SIGTERM saves and says how to go on; the second leaves at once."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.forked import Forked, train
from tests.support import ROOT
from training.backends.numpy import NumpyBackend
from training.storage.checkpoint import newest
from training.trainer import pictures, signals

ARGUMENTS = ("data=digits", "backend.threads=1", "trainer.epochs=900", "hydra.run.dir=run")


def hanging() -> None:
    """train.py whose fourth step takes a minute, as one in the middle of a long computation."""
    original, steps = NumpyBackend.train, 0

    def slow(self, first, last):
        nonlocal steps
        original(self, first, last)
        steps += 1
        if steps == 4:
            print("hanging", flush=True)
            time.sleep(60)

    NumpyBackend.train = slow
    train()


@contextmanager
def started(program: Callable[[], None], *arguments: str, cwd: Path) -> Iterator[Forked]:
    process = Forked(cwd, program, *arguments)
    try:
        yield process
    finally:
        process.process.kill()
        process.process.join()


def wait_for(process: Forked, stream: Path, word: str) -> None:
    while word not in stream.read_text():
        assert process.process.is_alive(), f"it ended without saying {word!r}"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("backend", "number"),
    [("numpy", signal.SIGINT), ("torch", signal.SIGTERM), ("numpy", signal.SIGUSR1)],
)
def test_one_signal(backend, number, tmp_path):
    with started(train, *ARGUMENTS, f"backend={backend}", cwd=tmp_path) as process:
        wait_for(process, process.output, "epoch   1/")
        os.kill(process.process.pid, number)
        ended = process.end(60)
    assert ended.returncode == 128 + number
    notice, last = [line for line in ended.stderr.splitlines() if line]
    assert notice == f"{number.name}: saving after this step; repeat to quit at once"
    remedy = f"python {ROOT / 'train.py'} resume={tmp_path / 'run'}"
    progress = newest(tmp_path / "run")[0].record["progress"]
    where = f"at the end of epoch {progress['epoch']}"
    if progress["step"]:
        where = f"in epoch {progress['epoch'] + 1} after step {progress['step']}"
    saved = f"stopped by {number.name} {where}, all saved"
    assert last == f"train.py: {saved}; resume with: {remedy}"
    assert ended.stdout.count("\nepoch ") <= progress["epoch"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_leaves_at_once_with_a_good_checkpoint(number, tmp_path):
    arguments = (*ARGUMENTS, "backend=numpy", "trainer.checkpoint_every=1 step")
    with started(hanging, *arguments, cwd=tmp_path) as process:
        wait_for(process, process.output, "hanging")
        os.kill(process.process.pid, number)
        wait_for(process, process.errors, "repeat to quit at once")
        os.kill(process.process.pid, number)
        ended = process.end(20)
    assert ended.returncode == -number  # a shell shows it as 128 + number
    assert newest(tmp_path / "run")[0].record["progress"]["step"] == 3


@pytest.mark.usefixtures("few_digits")
def test_a_signal_while_pictures_are_drawn_leaves_a_finished_run(
    call_main, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(pictures, "draw", lambda *_: signal.raise_signal(signal.SIGTERM))
    settings = "backend=numpy", "data=digits", "trainer.epochs=1", f"hydra.run.dir={tmp_path}/run"
    assert call_main(*settings) == 128 + signal.SIGTERM
    assert "SIGTERM arrived after the run had finished" in capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "finished"


def test_a_signal_the_process_was_told_to_ignore_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with signals.listen() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop.number
            assert signal.getsignal(signal.SIGTERM) == stop.receive
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_outside_the_main_thread_nothing_is_changed():
    seen = []

    def listen() -> None:
        with signals.listen() as stop:
            seen.append((stop.number, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [(False, signal.getsignal(signal.SIGINT))]
