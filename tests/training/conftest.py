from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import training.trainer.dataset
from tests.training import support


@pytest.fixture(autouse=True)
def _one_torch_thread() -> None:
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture
def call_main(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int | str | None]:
    """Call the command line in this process, in an empty folder; returns its exit status."""
    return partial(support.call, monkeypatch, tmp_path)


@pytest.fixture
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every run of this process see 96 training and 30 test images."""
    monkeypatch.setattr(
        training.trainer.dataset,
        "_load_once",
        lambda name, root, download, size, silent: support.few_digits(size),
    )


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs make empty files for pictures, which take longer than a short training."""
    for name in ("curves", "confusion", "worst"):
        monkeypatch.setattr(f"training.trainer.pictures.{name}", lambda path, *_: path.touch())
