"""NumPy runs in two processes, from the command line: when one is killed, and at Ctrl-C."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.forked import run, train
from tests.support import ROOT, assert_same_run

RUN = ("data=digits", "backend=numpy", "backend.threads=2", "model=lenet5_bn", "trainer.epochs=2")
SAVING = ("trainer.checkpoint_every='2 steps'", "trainer.batch_size=40")
#: Four steps and a fifth with one image; each process has enough of a batch to be worth it.
FEW = "161:31"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing has disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    ended = run(folder, train, *RUN, *SAVING, "hydra.run.dir=run", FEW=FEW)
    assert ended.returncode == 0, ended.stderr
    assert "\n2 processes, started in " in ended.stdout
    return folder / "run"


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("kill:1:7", 1, "rank 1 of the 2 processes: it was killed by SIGKILL; the last checkpoint"),
        ("raise:1:7", 1, "rank 1 of the 2 processes: ValueError: the fault; the last checkpoint"),
        ("interrupt:0:6", 130, "stopped by SIGINT in epoch 2 after step 2, all saved"),
    ],
)
def test_a_run_that_ends_early_goes_on_bit_for_bit(fault, status, words, whole, tmp_path):
    ended = run(tmp_path, train, *RUN, *SAVING, "hydra.run.dir=run", FAULT=fault, FEW=FEW)
    assert ended.returncode == status, ended.stderr
    *signals, sentence = ended.stderr.strip().splitlines()
    assert sentence.startswith(f"train.py: {words}"), ended.stderr
    # One process has answered the signal, and nobody has left a traceback.
    assert signals == ["SIGINT: saving after this step; repeat to quit at once"] * (status == 130)
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert (summary["status"], summary["threads"]) == ("interrupted", 2)
    command = shlex.split(sentence.partition("resume with: ")[2])
    resumed = run(tmp_path, train, *command[command.index(str(ROOT / "train.py")) + 1 :], FEW=FEW)
    assert resumed.returncode == 0, resumed.stderr
    assert "up to rounding" not in resumed.stdout
    assert_same_run(tmp_path / "run", whole)
