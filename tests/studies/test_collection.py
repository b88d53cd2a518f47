"""Keeping records of runs: which are refused, and what a damaged one leaves as it was."""

from __future__ import annotations

import json

import pytest

from studies import collection, sweep
from studies.__main__ import main
from studies.records import read
from tests.studies.kept_runs import SUMMARY, contents, keep, line, written
from training.errors import ConfigError


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("1,2,3", "metrics.csv is damaged at line 4: 3 values for 8 columns"),
        ("3,1e-3,x,0.8,0.4,0.9,3,2e4", "metrics.csv is damaged at line 4: could not convert"),
        ("\0", "metrics.csv is damaged at line 4: 1 values for 8 columns"),
        ("3,1e-3,nan,0.8,0.4,0.9,3,2e4", "metrics.csv is damaged at line 4: nan is not a finite"),
        (None, "metrics.csv is damaged at line 1: the columns must be"),
    ],
)
def test_a_damaged_table_leaves_page_and_pictures(damage, message, tmp_path, capsys) -> None:
    runs = tmp_path / "results" / "runs"
    keep(runs, [0.9, 0.97])
    written(tmp_path / "results")
    (table,) = runs.rglob("metrics.csv")
    table.write_text("" if damage is None else f"{table.read_text()}{damage}\n")
    before = contents(tmp_path)
    capsys.readouterr()
    assert main(["--results", str(tmp_path / "results")]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert str(table) in told
    assert told.count("\n") == 1
    assert before == contents(tmp_path)


def test_a_sweep_with_a_damaged_table_has_no_summary(tmp_path, capsys) -> None:
    keep(tmp_path, [0.9, 0.97])
    (table,) = tmp_path.rglob("metrics.csv")
    table.write_text(f"{table.read_text()}3,1e-3")
    sweep.summarise(tmp_path)
    told = capsys.readouterr().out
    assert told.startswith(f"no summary of the sweep: {table} is damaged at line 4: ")
    assert not list(tmp_path.glob("study.*"))


def test_other_columns_are_no_table(tmp_path, capsys) -> None:
    keep(tmp_path / "runs", [0.9, 0.97])
    (table,) = tmp_path.rglob("metrics.csv")
    table.write_text(
        table.read_text().replace("test_loss,test_accuracy", "test_accuracy,test_loss")
    )
    assert main(["--results", str(tmp_path)]) == 2
    assert "metrics.csv is damaged at line 1: the columns must be epoch" in capsys.readouterr().err


def test_a_summary_without_its_hardware_is_named(tmp_path, capsys) -> None:
    keep(tmp_path / "runs", [0.9, 0.97])
    (summary,) = tmp_path.rglob("summary.json")
    content = {key: value for key, value in SUMMARY.items() if key not in ("device", "date")}
    summary.write_text(json.dumps(content))
    assert main(["--results", str(tmp_path)]) == 2
    assert "summary.json lacks device, date" in capsys.readouterr().err


def test_a_typo_in_the_folders_name_writes_nothing(tmp_path, capsys) -> None:
    keep(tmp_path / "results" / "runs", [0.9, 0.97])
    written(tmp_path / "results")
    before = contents(tmp_path)
    assert main(["--results", str(tmp_path / "reslts")]) == 2
    assert f"there is no folder {tmp_path / 'reslts' / 'runs'}" in capsys.readouterr().err
    assert before == contents(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"results", "results.md"}


def test_all_runs_are_looked_at_before_one_is_kept(tmp_path, capsys) -> None:
    keep(tmp_path, [0.9, 0.97])
    keep(tmp_path, [0.9], seed=1, status="interrupted")
    runs = sorted(map(str, tmp_path.iterdir()))
    target = tmp_path / "results"
    assert main(["--collect", *runs, "--results", str(target)]) == 2
    assert "is interrupted: resume it" in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.usefixtures("mnist_of_digits")
def test_a_run_is_kept_by_what_it_changes(call_main, tmp_path, capsys) -> None:
    options = ("optimizer.lr=1e-4", "seed=7", "backend=torch", "backend.threads=1")
    run = ("experiment=r3_lenet5_avgpool", "trainer.epochs=2", "hydra.run.dir=here", *options)
    assert call_main(*run) == 0
    target = tmp_path / "docs" / "results"
    assert main(["--collect", str(tmp_path / "here"), "--results", str(target)]) == 0
    (record,) = collection.kept(target / "runs")
    assert record.changes == {"optimizer.lr": 1e-4}
    assert (record.experiment, record.backend, record.seed) == ("r3_lenet5_avgpool", "torch", 7)
    assert len(record.table("metrics")) == 2
    assert record.table("steps") == []
    files = [path for path in target.rglob("*") if path.suffix in (".json", ".csv", ".md")]
    kept = "".join(path.read_text() for path in files)
    assert str(tmp_path) not in kept
    assert main(["--collect", str(tmp_path / "here"), "--results", str(target)]) == 0
    assert len(collection.kept(target / "runs")) == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("data=digits", "experiment=r3_lenet5_avgpool", "data=digits"), "digits"),
        (("data=digits",), "experiment"),
    ],
)
def test_other_runs_are_refused(options, reason, call_main, tmp_path, capsys) -> None:
    quick = ("trainer.epochs=1", "backend=numpy", "backend.threads=1", "hydra.run.dir=here")
    assert call_main(*dict.fromkeys(options), *quick) == 0
    capsys.readouterr()
    target = tmp_path / "docs" / "results"
    assert main(["--collect", str(tmp_path / "here"), "--results", str(target)]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert reason in message
    assert not target.exists()


def test_a_folder_without_runs_is_named(tmp_path, capsys) -> None:
    empty = tmp_path / "empty"
    assert main(["--collect", str(empty), "--results", str(tmp_path / "results")]) == 2
    assert str(empty) in capsys.readouterr().err


@pytest.mark.usefixtures("mnist_of_digits")
def test_a_sweeps_recipes_keep_their_steps(call_main, tmp_path) -> None:
    study = ("study=seeds", "experiment=r3_lenet5_avgpool", "seed=0,1", "hydra.sweep.dir=all")
    assert call_main(*study, "backend.threads=1") == 0
    target = tmp_path / "docs" / "results"
    assert main(["--collect", str(tmp_path / "all"), "--results", str(target)]) == 0
    records = collection.kept(target / "runs")
    assert [(r.study, r.seed, len(r.table("steps"))) for r in records] == [
        ("seeds", 0, 4),
        ("seeds", 1, 4),
    ]
    page = (target.parent / "results.md").read_text(encoding="utf-8")
    assert "(numpy, n = 2)" in line(page, "| test accuracy after 2 epochs |")
    assert (target / "pictures" / "curve-r3_lenet5_avgpool.png").exists()


def test_long_changes_are_kept_apart(tmp_path) -> None:
    for residual in (False, True):
        changes = {"model.name": "long" * 30, "model.arguments.residual": residual}
        keep(tmp_path / str(residual), [0.9], changes=changes)
    kept = collection.collect([tmp_path / "False", tmp_path / "True"], tmp_path / "kept")
    assert len(set(kept)) == 2
    assert all(len(folder.parent.name) <= collection.LONGEST for folder in kept)


def test_a_sweeps_table_is_in_percent_without_empty_columns(tmp_path, capsys) -> None:
    rate = {"optimizer.lr": 3e-5}
    for seed, accuracy in enumerate((0.95, 0.97)):
        keep(tmp_path, [accuracy], seed, changes=rate)
    sweep.summarise(tmp_path)
    head, row = capsys.readouterr().out.splitlines()[2:4]
    assert head.split() == ["optimizer.lr", "runs", "failed", "test_accuracy"]
    assert row.split() == ["3e-05", "2", "0", "96.00", "±", "1.41", "%"]
    keep(tmp_path, [0.83], study="recipe")
    sweep.summarise(tmp_path)
    told = capsys.readouterr().out.splitlines()
    assert told[2].split()[-1] == "reported"
    assert [line.split()[-2:] for line in told if "83.31" in line] == [["83.31", "%"]]


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ([3], "its rows are not the epochs 1 to 3"),  # cut at a line's end
        ([2], "its rows are not the epochs 1 to 3"),
        ([1, 2, 3], "its rows are not the epochs 1 to 3"),
        ([], None),
    ],
)
def test_a_finished_runs_epochs_are_all_there(lost, words, tmp_path, capsys) -> None:
    keep(tmp_path / "runs", [0.9, 0.95, 0.97])
    (table,), (summary,) = tmp_path.rglob("metrics.csv"), tmp_path.rglob("summary.json")
    summary.write_text(json.dumps({**SUMMARY, "epochs": 3}))
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(line for number, line in enumerate(lines) if number not in lost))
    if words is None:
        assert [row["epoch"] for row in read(table.parent).table("metrics")] == [1, 2, 3]
        summary.write_text(json.dumps({**SUMMARY, "epochs": 2}))  # and is being trained longer
        assert [row["epoch"] for row in read(table.parent).table("metrics")] == [1, 2]
        summary.write_text(json.dumps({**SUMMARY, "epochs": "x"}))
        with pytest.raises(ConfigError, match=r"summary\.json is damaged: epochs is no number"):
            read(table.parent).table("metrics")
        return
    with pytest.raises(ConfigError, match=f"metrics.csv is damaged: {words}"):
        read(table.parent).table("metrics")
    summary.write_text(json.dumps({**SUMMARY, "status": "interrupted", "epochs": 3}))
    if lost != [2]:  # of a run that was cut short there may be fewer, but none is left out
        assert len(read(table.parent).table("metrics")) == 3 - len(lost)
