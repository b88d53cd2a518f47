"""A study's picture: what it shows, and that no word lies on another or outside."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from studies import pictures as study_pictures
from studies.collection import kept
from studies.groups import Study
from tests.studies.kept_runs import keep
from training.trainer import pictures


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    figures: list[Figure] = []
    monkeypatch.setattr(pictures, "save", lambda figure, _: figures.append(figure))
    return figures


def draw(runs: Path, drawn: list[Figure]) -> Figure:
    study_pictures.draw(Path("study.png"), Study.of(kept(runs)))
    (figure,) = drawn
    figure.draw_without_rendering()
    return figure


def legend(figure: Figure) -> set[str]:
    return {text.get_text() for text in figure.legends[0].get_texts()}


def test_words_lie_neither_on_each_other_nor_outside(tmp_path, drawn) -> None:
    for number, rate in enumerate((3e-7, 1e-3, 1e-2, 3e-2, 5e-2)):
        keep(tmp_path / str(number), [0.9839], study="rates", changes={"optimizer.lr": rate})
    figure = draw(tmp_path, drawn)
    (axes,) = figure.axes
    words = [*axes.texts, *axes.get_yticklabels(), *axes.get_xticklabels()]
    boxes = {word: word.get_window_extent() for word in words if word.get_text()}
    assert not [pair for pair in combinations(boxes, 2) if boxes[pair[0]].overlaps(boxes[pair[1]])]
    below = figure.legends[0].get_window_extent()
    assert not below.overlaps(axes.get_window_extent())
    for box in (*boxes.values(), below):
        assert figure.bbox.containsx(box.x1)
        assert figure.bbox.containsy(box.y0)
    assert [text.get_text() for text in axes.texts] == ["98.39 %"] * 5
    assert legend(figure) == {"measured (mean)"}


def test_several_seeds_show_runs_and_their_spread_apart(tmp_path, drawn) -> None:
    for seed, accuracy in enumerate((0.99, 0.9925, 0.994)):
        keep(tmp_path, [accuracy], seed)
    figure = draw(tmp_path, drawn)
    assert legend(figure) == {"single run", "± standard deviation", "measured (mean)", "reported"}
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["99.22 ± 0.20 %"]


def test_percentages_have_the_decimals_they_need() -> None:
    ticks = pictures.Percent().format_ticks
    assert ticks([0.992, 0.9925, 0.993]) == ["99.20 %", "99.25 %", "99.30 %"]
    assert ticks([0.2, 0.4]) == ["20 %", "40 %"]


@pytest.mark.parametrize("epochs", [1, 2, 10, 60, 300])
def test_epochs_begin_at_one(epochs) -> None:
    axes = Figure().subplots()
    axes.plot(range(1, epochs + 1), [0.5] * epochs)
    pictures.by_epoch(axes, epochs)
    low, high = axes.get_xlim()
    shown = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert shown
    assert all(tick >= 1 and tick.is_integer() for tick in shown)
