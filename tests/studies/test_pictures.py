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
