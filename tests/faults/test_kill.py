"""`kill -9` at random moments loses at most the work since the last save, and never the file."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.faults.savers import save_for_ever, state_of
from tests.forked import Forked, run, server, train
from tests.support import assert_same_run
from training.storage.checkpoint import NAME, newest
from training.storage.files import remove_leftovers

KILLS = 50
needs_kill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")


@needs_kill
def test_fifty_kills_in_the_middle_of_saving(tmp_path):
    context = server()
    moments = random.Random(0)
    confirmed, interrupted = 0, 0
    for _ in range(KILLS):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=save_for_ever, args=(tmp_path, confirmed, sender))
        process.start()
        sender.close()
        assert receiver.poll(60), "the process never saved"
        time.sleep(moments.uniform(0, 0.03))
        process.kill()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        while True:
            try:
                confirmed = max(confirmed, receiver.recv())
            except EOFError:
                break
        content, passed_over = newest(tmp_path)
        assert passed_over is None
        number = content.record["number"]
        assert number in (confirmed, confirmed + 1), "a complete save was lost"
        for name, array in content.state.items():
            np.testing.assert_array_equal(array, state_of(number)[name])
        interrupted += any(path.name.startswith(".") for path in tmp_path.iterdir())
        confirmed = number
    assert interrupted >= KILLS // 5, "too few of the kills came in the middle of a save"
    assert confirmed > KILLS
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {NAME, f"{NAME}.previous"}


@needs_kill
def test_a_killed_training_goes_on_to_the_same_end(tmp_path):
    arguments = ("data=digits", "backend=numpy", "backend.threads=1", "trainer.epochs=2")
    arguments = (*arguments, "trainer.batch_size=32", "trainer.checkpoint_every=1 step")
    whole = run(tmp_path, train, *arguments, "hydra.run.dir=whole")
    assert whole.returncode == 0, whole.stderr
    moments = random.Random(1)
    command = (*arguments, "hydra.run.dir=part")
    for _ in range(2):
        kill_after_a_save(tmp_path, command, moments.uniform(0, 0.15))
        command = ("resume=part",)
    stale = tmp_path / "part" / ".metrics.csv.1.tmp"
    stale.write_bytes(b"what a killed process left")
    result = run(tmp_path, train, "resume=part")
    assert result.returncode == 0, result.stderr
    assert_same_run(tmp_path / "part", tmp_path / "whole")
    assert not [p for p in (tmp_path / "part").iterdir() if p.suffix in (".tmp", ".kept")]


def kill_after_a_save(cwd: Path, arguments: tuple[str, ...], seconds: float) -> None:
    path = cwd / "part" / NAME
    before = path.stat().st_mtime_ns if path.exists() else 0
    started = Forked(cwd, train, *arguments)
    deadline = time.monotonic() + 60
    while not (path.exists() and path.stat().st_mtime_ns > before):
        assert started.process.is_alive(), started.end()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(seconds)
    started.process.kill()
    started.end()
