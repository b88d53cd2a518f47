"""The first SIGINT or SIGTERM saves and says how to go on; the second leaves at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import ROOT
from training.storage.checkpoint import newest, read
from training.trainer import pictures, signals

ARGUMENTS = ("data=digits", "backend.threads=1", "trainer.epochs=900", "hydra.run.dir=run")
# The fourth step takes a minute, as one in the middle of a long computation.
HANGS = """
import sys, time
from training.cli.main import main
import training.backends.numpy as side
train, steps = side.NumpyBackend.train, 0
def slow(self, first, last):
    global steps
    train(self, first, last)
    steps += 1
    if steps == 4:
        print("hanging", flush=True)
        time.sleep(60)
side.NumpyBackend.train = slow
main()
"""


@contextmanager
def started(*command: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(stream, word: str) -> None:
    for line in stream:
        if word in line:
            return
    pytest.fail(f"the process ended without saying {word!r}")


@pytest.mark.parametrize(
    ("backend", "number"),
    [("numpy", signal.SIGINT), ("torch", signal.SIGTERM), ("numpy", signal.SIGUSR1)],
)
def test_one_signal(backend, number, tmp_path):
    command = (str(ROOT / "train.py"), *ARGUMENTS, f"backend={backend}")
    with started(*command, cwd=tmp_path) as process:
        wait_for(process.stdout, "epoch   1/")
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    notice, last = [line for line in errors.splitlines() if line]
    assert notice == f"{number.name}: saving after this step; repeat to quit at once"
    remedy = f"python {ROOT / 'train.py'} resume={tmp_path / 'run'}"
    progress = newest(tmp_path / "run", read)[0].record["progress"]
    where = f"at the end of epoch {progress['epoch']}"
    if progress["step"]:
        where = f"in epoch {progress['epoch'] + 1} after step {progress['step']}"
    saved = f"stopped by {number.name} {where}, all saved"
    assert last == f"train.py: {saved}; resume with: {remedy}"
    assert len(output.splitlines()) <= progress["epoch"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_leaves_at_once_with_a_good_checkpoint(number, tmp_path):
    arguments = (*ARGUMENTS, "backend=numpy", "trainer.checkpoint_every=1 step")
    with started("-c", HANGS, *arguments, cwd=tmp_path) as process:
        wait_for(process.stdout, "hanging")
        process.send_signal(number)
        wait_for(process.stderr, "repeat to quit at once")
        process.send_signal(number)
        process.communicate(timeout=20)
    assert process.returncode == -number  # a shell shows it as 128 + number
    assert newest(tmp_path / "run", read)[0].record["progress"]["step"] == 3


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
            assert not stop.requested
            assert signal.getsignal(signal.SIGTERM) == stop.receive
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_outside_the_main_thread_nothing_is_changed():
    seen = []

    def listen() -> None:
        with signals.listen() as stop:
            seen.append((stop.requested, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [(False, signal.getsignal(signal.SIGINT))]
