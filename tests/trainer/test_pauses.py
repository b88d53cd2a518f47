"""Backends that take many steps at a call stop wherever something else is due."""

from __future__ import annotations

import pytest

from tests.support import assert_same_run
from tests.trainer.runs import finish
from training.backends.numpy import NumpyBackend
from training.trainer.record import RunRecord

pytestmark = pytest.mark.usefixtures("few_digits", "no_pictures")
#: Settings, and the calls of two epochs of five steps. The last asks for everything: accuracies
#: after the first step, rows after the even ones and an epoch's last, saves after the third ones.
EVERYTHING = (
    *("trainer.evaluation_samples=10", "trainer.log_every=2"),
    "trainer.checkpoint_every=3 steps",
)
CALLS = {
    (): [(0, 5), (0, 5)],
    EVERYTHING[:1]: [(0, 1), (1, 5), (0, 5)],
    EVERYTHING[1:2]: [(0, 2), (2, 4), (4, 5), (0, 1), (1, 3), (3, 5)],
    EVERYTHING[2:]: [(0, 3), (3, 5), (0, 1), (1, 4), (4, 5)],
    EVERYTHING: [*((n, n + 1) for n in range(5)), (0, 1), (1, 3), (3, 4), (4, 5)],
}


@pytest.mark.parametrize(("settings", "calls"), CALLS.items(), ids=str)
def test_as_many_steps_at_a_call_as_nothing_is_due_between(settings, calls, tmp_path, monkeypatch):
    asked = []

    def note(self, first, last, original=NumpyBackend.train):
        asked.append((first, last))
        original(self, first, last)

    monkeypatch.setattr(NumpyBackend, "train", note)
    monkeypatch.setattr(NumpyBackend, "steps_per_call", 64)
    finish(tmp_path / "run", "backend=numpy", *settings)
    assert asked == calls


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_is_recorded_and_saved_is_the_same(device, tmp_path, monkeypatch):
    """On CUDA the sums are not looked at after every call, but where a row needs them."""
    saved: list[list[tuple[int, int]]] = []

    def note(self, original=RunRecord.save):
        saved[-1].append((self.progress.epoch, self.progress.step))
        original(self)

    monkeypatch.setattr(RunRecord, "save", note)
    for name in ("plain", "again"):
        saved.append([])
        finish(tmp_path / name, "backend=numpy", *EVERYTHING)
        monkeypatch.setattr(NumpyBackend, "steps_per_call", 64)
        monkeypatch.setattr(NumpyBackend, "device", device)
    assert saved[0] == saved[1]
    assert_same_run(tmp_path / "plain", tmp_path / "again")
    for name in ("steps.csv", "evaluations.csv"):
        assert (tmp_path / "plain" / name).read_text() == (tmp_path / "again" / name).read_text()
