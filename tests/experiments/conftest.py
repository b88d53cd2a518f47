from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import training.trainer.dataset
from tests.training import support


@pytest.fixture
def mnist_of_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every run of this process that asks for MNIST see 96 digits under that name."""

    def load(name: str, root: str | None, download: bool, size: int, silent: bool):
        assert name == "mnist"
        return replace(support.few_digits(size), name="mnist")

    monkeypatch.setattr(training.trainer.dataset, "_load_once", load)


@pytest.fixture
def call_main(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int | str | None]:
    """Call the command line in this process, in an empty folder; returns its exit status."""
    return partial(support.call, monkeypatch, tmp_path)


@pytest.fixture(autouse=True)
def _no_pictures_of_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out each run's three pictures: other tests look at them, and they take long."""
    from training.trainer import pictures

    for name in ("curves", "confusion", "worst"):
        monkeypatch.setattr(pictures, name, lambda *_: None)
