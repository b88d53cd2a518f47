"""A run's pictures: that equal ones are equal bytes, and what stands on their axes."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.support import few_digits
from training.storage.tables import Row
from training.trainer import pictures
from training.trainer.evaluation import score

ROWS = [Row(1, 1e-3, 0.5, 0.8, 0.4, 0.9, 1.5, 1e3), Row(2, 1e-3, 0.4, 0.85, 0.3, 0.95, 1.5, 1e3)]


@pytest.mark.parametrize("wrong", [0, 3, 25])
def test_equal_runs_give_equal_bytes(wrong, tmp_path) -> None:
    """With no error, less than a line of errors, and more errors than are shown."""
    dataset = few_digits()
    logits = np.eye(10, dtype=np.float32)[dataset.test_labels]
    logits[:wrong] = np.roll(logits[:wrong], 1, axis=1)
    scores = score(logits, dataset.test_labels)
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        pictures.draw(tmp_path / name, ROWS, scores, dataset, "a network on numpy")
    files = {path.name for path in (tmp_path / "one").iterdir()}
    assert files == {"curves.png", "confusion.png", "worst.png"}
    for name in files:
        content = (tmp_path / "one" / name).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert content == (tmp_path / "other" / name).read_bytes()


@pytest.mark.parametrize("epochs", [1, 2, 10, 60, 300])
def test_epochs_begin_at_one(epochs) -> None:
    axes = Figure().subplots()
    axes.plot(range(1, epochs + 1), [0.5] * epochs)
    pictures.by_epoch(axes, epochs)
    low, high = axes.get_xlim()
    shown = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert shown
    assert all(tick >= 1 and tick.is_integer() for tick in shown)
