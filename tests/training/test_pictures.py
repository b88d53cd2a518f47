"""Pictures that are drawn by several processes are those that one draws."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.training.support import few_digits
from training import failures, pictures
from training.artefacts import RunLabel
from training.evaluation import Scores, score
from training.loop import Row

LABEL = RunLabel("lenet5_relu", "torch", "digits", 0)
ROWS = [Row(epoch, 1e-3, 1 / epoch, 0.8, 1 / epoch, 0.9, 1.5, 1000.0) for epoch in (1, 2)]
NAMES = ("curves.png", "confusion.png", "worst.png")


@pytest.fixture(autouse=True)
def _two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    failures.forget()
    monkeypatch.setattr(pictures, "RUNS_PER_PROCESS", 1)
    monkeypatch.setattr("training.environment.available_cores", lambda: 2)


def guesses(seed: int) -> Scores:
    labels = few_digits().test_labels
    return score(np.random.default_rng(seed).normal(size=(30, 10)).astype("f4"), labels)


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_they_are_the_same_and_a_failure_is_noted(tmp_path, capsys):
    alone, dataset = folder(tmp_path / "alone"), few_digits()
    pictures.draw(alone, ROWS, guesses(2), dataset, LABEL)
    places = [folder(tmp_path / name) for name in "abc"]
    (places[1] / "confusion.png").mkdir()
    with pictures.side_by_side(3, dataset) as draw:
        for seed, place in enumerate(places):
            draw(place, ROWS, guesses(seed), dataset, LABEL)
        assert list(places[0].iterdir()) == []
    assert {path.name for path in places[0].iterdir()} == set(NAMES)
    for name in NAMES:
        assert (places[2] / name).read_bytes() == (alone / name).read_bytes()
    told = capsys.readouterr().err
    assert told == (places[1] / failures.NAME).read_text().join(["train.py: b failed: ", ""])
    assert "cannot write" in told
    assert told.count("\n") == 1


def test_a_process_that_ends_early_is_no_success(tmp_path, monkeypatch, capsys):
    def start(*_) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", "import sys; sys.exit('no memory')"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    monkeypatch.setattr(pictures, "_start", start)
    place = folder(tmp_path / "a")
    with pictures.side_by_side(2, few_digits()) as draw:
        draw(place, ROWS, guesses(0), few_digits(), LABEL)
    assert "its pictures were not drawn: no memory" in capsys.readouterr().err
    assert (place / failures.NAME).exists()


def test_few_runs_are_drawn_at_once(monkeypatch):
    monkeypatch.setattr(pictures, "RUNS_PER_PROCESS", 4)
    with pictures.side_by_side(7, few_digits()) as draw:
        assert draw is pictures.draw
