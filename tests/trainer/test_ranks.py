"""A run on one of several ranks: the first writes and speaks, and all end together."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.support import compose, few_digits
from tests.trainer.runs import SHORT, finish
from training.backends.numpy import NumpyBackend
from training.backends.ranks import ALONE, Alone, Ranks
from training.errors import ProcessError, StoppedError
from training.storage.checkpoint import NAME
from training.trainer.saved_run import newest_run
from training.trainer.trainer import train

pytestmark = pytest.mark.usefixtures("few_digits", "no_pictures")


class Second(Alone):
    """A rank that is not the first, with the whole batch to itself."""

    rank = 1


class Signalled(Second):
    """One beside a rank that a signal has asked to stop."""

    def any(self, flag: bool) -> bool:
        return True


class Losing(Alone):
    """The first rank, whose other is gone from one of its questions on."""

    def __init__(self, question: int) -> None:
        self.left = question

    def any(self, flag: bool) -> bool:
        self.left -= 1
        if not self.left:
            raise ProcessError("rank 1 is gone")
        return flag


def trained(folder: Path, ranks: Ranks, *overrides: str) -> float:
    folder.mkdir(exist_ok=True)
    config = compose(*SHORT, "backend=numpy", *overrides)
    return train(config, few_digits(), ranks, folder, chosen="as asked", label="")


def test_only_the_first_rank_writes_and_speaks(tmp_path, capsys, monkeypatch):
    handlers = []

    def note(self, *steps, original=NumpyBackend.train):
        handlers.append(signal.getsignal(signal.SIGINT))
        original(self, *steps)

    monkeypatch.setattr(NumpyBackend, "train", note)
    every = ("trainer.log_every=2", "trainer.evaluation_samples=10")
    accuracy = trained(tmp_path / "second", Second(), *every)
    assert list((tmp_path / "second").iterdir()) == []
    assert capsys.readouterr() == ("", "")
    # A signal to the whole job is the first rank's to answer.
    assert set(handlers) == {signal.SIG_IGN}
    assert signal.getsignal(signal.SIGINT) != signal.SIG_IGN
    assert trained(tmp_path / "first", ALONE) == accuracy


def test_a_rank_that_got_no_signal_stops_with_the_one_that_did(tmp_path):
    words = "stopped by a signal before the first step, all saved"
    with pytest.raises(StoppedError, match=words) as caught:
        trained(tmp_path / "second", Signalled())
    assert (caught.value.number, caught.value.exit_status) == (signal.SIGTERM, 143)
    assert list((tmp_path / "second").iterdir()) == []


def test_the_other_ranks_go_on_from_what_the_first_has_read(tmp_path):
    folder = finish(tmp_path / "run", "backend=numpy")
    content = (folder / NAME).read_bytes()

    class Reading(Second):
        def broadcast_bytes(self, given: bytes) -> bytes:
            assert given == b""
            return content

    ours, passed_over = newest_run(tmp_path / "not on this machine", Reading())
    theirs, _ = newest_run(folder, ALONE)
    assert passed_over is None
    assert (ours.progress, ours.record) == (theirs.progress, theirs.record)
    for name, array in theirs.state.items():
        np.testing.assert_array_equal(ours.state[name], array)


@pytest.mark.parametrize(
    ("question", "remedy"),
    [
        (2, "nothing had been saved yet"),
        (4, "the last checkpoint is good; resume with: python train.py resume="),
    ],
)
def test_a_run_that_loses_a_rank_says_what_is_saved(question, remedy, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["train.py"])
    folder = tmp_path / "run"
    with pytest.raises(ProcessError) as caught:
        trained(folder, Losing(question), "trainer.checkpoint_every=2 steps")
    told = str(caught.value)
    assert told.startswith(f"rank 1 is gone; {remedy}")
    assert told.endswith(str(folder)) == ("resume" in remedy)
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["status"], summary["reason"], summary["epochs"]) == ("interrupted", told, 0)
