"""steps.csv, evaluations.csv and the console's outlook."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from tests.support import assert_same_run, metrics
from training.storage.tables import Row
from training.trainer import console

pytestmark = pytest.mark.usefixtures("mnist_of_digits")

QUICK = ("experiment=r2_deepcnn21", "trainer.batch_size=20", "backend.threads=1")


def table(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_steps_add_up_to_the_epoch(backend, call_main, tmp_path) -> None:
    options = ("trainer.epochs=2", "trainer.log_every=2", f"backend={backend}")
    assert call_main(*QUICK, *options, "hydra.run.dir=here") == 0
    steps = table(tmp_path / "here" / "steps.csv")
    assert [row["step"] for row in steps] == [2, 4, 5, 6, 8, 10]
    sizes = [40, 40, 16, 20, 40, 36]
    for epoch, row in enumerate(metrics(tmp_path / "here")):
        part = list(zip(sizes, steps, strict=True))[3 * epoch : 3 * epoch + 3]
        for name in ("loss", "accuracy"):
            mean = sum(size * step[name] for size, step in part) / 96
            assert mean == pytest.approx(row[f"train_{name}"], rel=1e-4)


def test_a_resumed_run_records_the_same(call_main, tmp_path) -> None:
    options = ("trainer.log_every=1", "trainer.evaluation_samples=20")
    assert call_main(*QUICK, *options, "trainer.epochs=3", "hydra.run.dir=whole") == 0
    assert call_main(*QUICK, *options, "trainer.epochs=1", "hydra.run.dir=part") == 0
    for name in ("steps", "evaluations"):  # what a killed process had written beyond its save
        with (tmp_path / "part" / f"{name}.csv").open("a") as file:
            file.write("6,9,9,9\n" if name == "evaluations" else "6,9,9\n6,")
    assert call_main("resume=part", "trainer.epochs=3") == 0
    for name in ("steps.csv", "evaluations.csv"):
        assert (tmp_path / "part" / name).read_text() == (tmp_path / "whole" / name).read_text()


DAMAGES = {
    "empty": lambda text: "",
    "zeros": lambda text: "\0" * len(text),
    "text": lambda text: text.replace("\n2,", "\nabc,"),
    "cut": lambda text: text[: text.index("\n3,")] + "\n3,0.",
    "beyond": lambda text: text + "6,9,9\n6,",  # what a killed process had written after its save
    "gone": None,
}


def test_tables_are_rebuilt_whatever_became_of_them(call_main, tmp_path) -> None:
    options = ("backend=numpy", "trainer.log_every=1", "trainer.evaluation_samples=20")
    assert call_main(*QUICK, *options, "trainer.epochs=1", "hydra.run.dir=part") == 0
    assert call_main(*QUICK, *options, "trainer.epochs=2", "hydra.run.dir=whole") == 0
    for damaged, damage in DAMAGES.items():
        folder = shutil.copytree(tmp_path / "part", tmp_path / damaged)
        for name in ("metrics", "steps", "evaluations"):
            path = folder / f"{name}.csv"
            if damage is None:
                path.unlink()
            elif name == "steps":
                path.write_text(damage(path.read_text()))
        assert call_main(f"resume={damaged}", "trainer.epochs=2") == 0, damaged
        assert_same_run(folder, tmp_path / "whole")
        for name in ("steps.csv", "evaluations.csv"):
            expected = (tmp_path / "whole" / name).read_text()
            assert (folder / name).read_text() == expected, damaged


def test_evaluations_of_the_whole_test_set_agree_with_the_metrics(call_main, tmp_path) -> None:
    options = ("trainer.epochs=2", "trainer.evaluation_samples=30")
    assert call_main(*QUICK, *options, "hydra.run.dir=here") == 0
    first, *rows = table(tmp_path / "here" / "evaluations.csv")
    assert (first["step"], first["epoch"]) == (1, 0)
    expected = [row["test_accuracy"] for row in metrics(tmp_path / "here")]
    assert [row["test_accuracy"] for row in rows] == pytest.approx(expected, rel=1e-5)


def test_an_epochs_line_tells_the_best_and_the_time_left(monkeypatch, capsys) -> None:
    now = [100.0]
    monkeypatch.setattr(console, "perf_counter", lambda: now[0])
    lines = console.Console()
    lines.begin(epochs=12, done=2)
    monkeypatch.setenv("COLUMNS", "120")
    row = Row(3, 1e-3, 0.5, 0.8, 0.4, 0.9, 1.5, 1000.0)
    rows = [row._replace(epoch=1), row._replace(epoch=2, test_accuracy=0.95), row]
    now[0] += 20
    lines.epoch(rows)
    said = capsys.readouterr().out
    assert said.endswith("lr 0.001  1.5 s  best 95.00 %  ETA 0:03:00\n")
    monkeypatch.setenv("COLUMNS", "80")
    lines.epoch(rows)
    narrow = capsys.readouterr().out
    assert narrow.startswith(said[:50])
    assert narrow.endswith("ETA 0:03:00\n")
    assert len(narrow) <= 81
    lines.epoch([*rows, row._replace(epoch=12)])
    assert "ETA" not in capsys.readouterr().out
