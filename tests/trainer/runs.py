"""Short runs on a few digits, and what is read of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import compose
from training.trainer.trainer import run

# Five steps an epoch, the last of 16 images.
SHORT = ("trainer.epochs=2", "trainer.batch_size=20", "data.flip=0.5", "backend.threads=1")


def finish(folder: Path, *overrides: str, resume: bool = False) -> Path:
    """Train in a folder to the end, or go on there."""
    config = compose(*SHORT, *overrides)
    folder.mkdir(exist_ok=True)
    run(replace(config, resume=str(folder)) if resume else config, folder)
    return folder


def notes_of(folder: Path) -> list[str]:
    return json.loads((folder / "summary.json").read_text())["notes"]


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    output = capsys.readouterr().err
    assert output.startswith("train.py: ")
    assert output.count("\n") == 1, output
    return output
