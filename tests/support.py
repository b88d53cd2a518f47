"""What several tests of the training need."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import training.trainer.dataset
from training.config.composition import configuration
from training.config.schema import Config
from training.data import Dataset, load_dataset
from training.storage.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parents[1]
MODELS = tuple(sorted(path.stem for path in (ROOT / "conf" / "model").glob("*.yaml")))


def compose(*overrides: str) -> Config:
    """The checked configuration of one job on digits with one thread."""
    return deepcopy(_compose(overrides))


@lru_cache
def _compose(overrides: tuple[str, ...]) -> Config:
    return configuration("data=digits", "backend.threads=1", *overrides)


@lru_cache
def few_digits(image_size: int = 28, train: int = 96, test: int = 30) -> Dataset:
    """So few real digits that a run over them takes a moment."""
    return first(
        load_dataset("digits", image_size=image_size, announce=lambda _: None), train, test
    )


def first(whole: Dataset, train: int, test: int) -> Dataset:
    """The first images of a data set."""
    return replace(
        whole,
        train_images=whole.train_images[:train],
        train_labels=whole.train_labels[:train],
        test_images=whole.test_images[:test],
        test_labels=whole.test_labels[:test],
    )


def draw_nothing(patch: pytest.MonkeyPatch) -> None:
    """Let runs make empty files for pictures, which take longer than a short training."""
    for name in ("curves", "confusion", "worst"):
        patch.setattr(f"training.trainer.pictures.{name}", lambda path, *_: path.touch())


def shorten(patch: pytest.MonkeyPatch, train: int, test: int) -> None:
    """Let runs of this process see so few images, and draw no pictures."""
    load = training.trainer.dataset._load_once
    patch.setattr(training.trainer.dataset, "_load_once", lambda *a: first(load(*a), train, test))
    draw_nothing(patch)


def call(monkeypatch: pytest.MonkeyPatch, cwd: Path, *arguments: str) -> int | str | None:
    """Call the command line in this process; returns its exit status."""
    from training.cli.main import main

    monkeypatch.chdir(cwd)
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")
    try:
        main()
    except SystemExit as end:
        return end.code
    return 0


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, action: Callable[[], object]) -> None:
    """Have an action take place during one of a process's steps, counted from 1."""
    from training.backends.numpy import NumpyBackend
    from training.backends.torch import TorchBackend

    taken = 0
    for backend in (NumpyBackend, TorchBackend):

        def train(self, first, last, original=backend.train):
            nonlocal taken
            original(self, first, last)
            taken += last - first
            if taken - (last - first) < step <= taken:
                action()

        monkeypatch.setattr(backend, "train", train)


def signal_at_step(monkeypatch: pytest.MonkeyPatch, step: int, number: int) -> None:
    """Have a signal come during a step."""
    at_step(monkeypatch, step, lambda: signal.raise_signal(number))


def metrics(directory: Path, *without: str) -> list[dict[str, float]]:
    """The rows of metrics.csv, without some of its columns."""
    with (directory / "metrics.csv").open(newline="") as file:
        return [
            {key: float(value) for key, value in row.items() if key not in without}
            for row in csv.DictReader(file)
        ]


def assert_same_run(one: Path, other: Path) -> None:
    """Assert that two finished runs are the same, bit for bit, but for the time they took."""
    timing = ("seconds", "images_per_second")
    assert metrics(one, *timing) == metrics(other, *timing)
    first, second = (load_checkpoint(d / "checkpoint.safetensors") for d in (one, other))
    assert first.state.keys() == second.state.keys()
    for name, array in first.state.items():
        if name == "progress.metrics":
            array, expected = array[:, :-2], second.state[name][:, :-2]
        else:
            expected = second.state[name]
        assert array.dtype == expected.dtype, name
        np.testing.assert_array_equal(array, expected, err_msg=name)
    progress = [{**c.record["progress"], "seconds": 0} for c in (first, second)]
    assert progress[0] == progress[1]
    weights = [load_file(directory / "weights.safetensors") for directory in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    for name, array in weights[0].items():
        np.testing.assert_array_equal(array, weights[1][name], err_msg=name)
    for name in ("curves.png", "confusion.png", "worst.png"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def train_py(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run train.py as a user does."""
    return subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *arguments],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
