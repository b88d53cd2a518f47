"""docs/results.md from records: figures, verdicts, and what has no record yet."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.experiments.test_recipes import EXPERIMENTS, STUDIES, jobs
from tests.training.support import ROOT
from training.reports import collection, verdicts
from training.reports.__main__ import main
from training.reports.claim import Claim, Reading
from training.reports.claims import CLAIMS, QUIRKS
from training.reports.page import NOT_RUN, write
from training.reports.records import Record, recipe
from training.settings import flatten

SUMMARY = {
    "status": "finished",
    "reason": "",
    "device": "cpu",
    "threads": 1,
    "dataset": "mnist",
    "seconds": 90.0,
    "date": "2026-01-02T03:04:05+00:00",
    "processor": "a processor",
    "versions": {"python": "3.11.0", "numpy": "2.3.4"},
}


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *path, last = key.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return tree


def keep(
    runs: Path, accuracies: list[float], seed: int = 0, status: str = "finished", **options: Any
) -> None:
    """Write a record of R3's recipe as `--collect` keeps it."""
    changes, study = options.get("changes", {}), options.get("study", "seeds")
    folder = runs / f"{study}-{status}-{seed}-{len(changes)}"
    folder.mkdir(parents=True)
    config = {**recipe("r3_lenet5_avgpool"), **changes, "seed": seed}
    record = {"experiment": "r3_lenet5_avgpool", "study": study, "changes": changes}
    (folder / "record.json").write_text(json.dumps({**record, "config": nested(config)}))
    (folder / "summary.json").write_text(json.dumps({**SUMMARY, "status": status}))
    names = ["epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*names, "seconds", "images_per_second"])
        for epoch, accuracy in enumerate(accuracies, 1):
            writer.writerow([epoch, 1e-3, 0.5, 0.8, 0.4, accuracy, 3.0, 20000.0])


def written(folder: Path) -> str:
    assert main(["--results", str(folder)]) == 0
    return (folder.parent / "results.md").read_text(encoding="utf-8")


def line(page: str, *words: str) -> str:
    (found,) = [row for row in page.splitlines() if all(word in row for word in words)]
    return found


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_without_a_record_there_is_no_figure(tmp_path) -> None:
    (tmp_path / "results" / "runs").mkdir(parents=True)
    page = written(tmp_path / "results")
    for claim in CLAIMS:
        assert line(page, f"| {claim.report} | {claim.text}").endswith(f"{NOT_RUN} | {NOT_RUN} |")
    for quirk in QUIRKS:
        row = line(page, f"| {quirk.report} | {quirk.words}")
        assert row.endswith(f"{NOT_RUN} | {NOT_RUN} | {NOT_RUN} |")


def test_mean_spread_and_verdict(tmp_path) -> None:
    runs = tmp_path / "results" / "runs"
    keep(runs, [0.9, 0.9700], seed=0)
    keep(runs, [0.9, 0.9710], seed=1)
    page = written(tmp_path / "results")
    row = line(page, "R3", "test accuracy after 2 epochs")
    assert "97.05 ± 0.07 % (numpy, n = 2)" in row
    assert row.endswith("not reproduced: 13.74 points above |")
    assert line(page, "training images a second").endswith("| met |")
    assert "a processor, cpu, 1 thread" in page
    picture = tmp_path / "results" / "pictures" / "seeds-r3_lenet5_avgpool.png"
    assert picture.exists()
    before = contents(tmp_path)
    picture.with_name("stale.png").write_bytes(b"")
    written(tmp_path / "results")
    assert before == contents(tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("1,2,3", "metrics.csv is damaged at line 4: 3 values for 8 columns"),
        ("3,1e-3,x,0.8,0.4,0.9,3,2e4", "metrics.csv is damaged at line 4: could not convert"),
        ("\0", "metrics.csv is damaged at line 4: "),
        (None, "metrics.csv holds no epoch"),
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


def test_a_slip_in_the_folders_name_writes_nothing(tmp_path, capsys) -> None:
    keep(tmp_path / "results" / "runs", [0.9, 0.97])
    written(tmp_path / "results")
    before = contents(tmp_path)
    assert main(["--results", str(tmp_path / "reslts")]) == 2
    assert f"there is no folder {tmp_path / 'reslts' / 'runs'}" in capsys.readouterr().err
    assert before == contents(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"results", "results.md"}


def test_another_folders_page_has_its_own_name(tmp_path) -> None:
    keep(tmp_path / "run", [0.9, 0.97])
    (run,) = (tmp_path / "run").iterdir()
    target = tmp_path / "other"
    assert main(["--collect", str(run), "--results", str(target)]) == 0
    page = (tmp_path / "other.md").read_text(encoding="utf-8")
    assert "(other/runs)" in page
    assert "(other/pictures/seeds-r3_lenet5_avgpool.png)" in page
    assert not (tmp_path / "results.md").exists()


def test_all_runs_are_looked_at_before_one_is_kept(tmp_path, capsys) -> None:
    keep(tmp_path, [0.9, 0.97])
    keep(tmp_path, [0.9], seed=1, status="interrupted")
    runs = sorted(map(str, tmp_path.iterdir()))
    target = tmp_path / "results"
    assert main(["--collect", *runs, "--results", str(target)]) == 2
    assert "is interrupted: go on with it" in capsys.readouterr().err
    assert not target.exists()


def test_curves_are_by_iteration_where_a_run_has_them(tmp_path) -> None:
    runs = tmp_path / "results" / "runs"
    keep(runs, [0.9, 0.97], study="quirk_r3_eps")
    assert "## r3_lenet5_avgpool by epoch" in written(tmp_path / "results")
    keep(runs, [0.9, 0.97], seed=1)
    (folder,) = runs.glob("seeds-*")
    (folder / "steps.csv").write_text("step,loss,accuracy\n1,2.3,0.1\n2,2.2,0.2\n")
    assert "## r3_lenet5_avgpool by iteration" in written(tmp_path / "results")


def test_a_notes_figure_is_measured(tmp_path) -> None:
    runs = tmp_path / "results" / "runs"
    keep(runs, [0.9, 0.97])
    page = written(tmp_path / "results")
    assert "the rate is not stated: 3e-5" not in page
    assert "| test accuracy after 2 epochs |" in page
    keep(runs, [0.7, 0.8567], changes={"optimizer.lr": 3e-5})
    page = written(tmp_path / "results")
    assert ". the rate is not stated: 3e-5 gives 85.67 %, but then" in page
    assert "| test accuracy after 2 epochs [" in page


@pytest.mark.parametrize(("of", "figure"), [("mean", 95), ("greatest", 98), ("range", 6)])
def test_what_a_note_tells_of_several_runs(of, figure, tmp_path) -> None:
    for seed, accuracy in enumerate((0.92, 0.95, 0.98)):
        keep(tmp_path, [accuracy], seed)
    keep(tmp_path, [0.98], seed=2, study="again")
    reading = Reading("r3_lenet5_avgpool", of=of)
    claim = Claim("r3_lenet5_avgpool", "R3", "", (), note="{:.2f}", readings=(reading,))
    assert verdicts.note(claim, collection.kept(tmp_path)) == f"{figure:.2f}"


def test_divergence_is_a_result(tmp_path) -> None:
    keep(tmp_path / "results" / "runs", [0.1], status="diverged")
    page = written(tmp_path / "results")
    row = line(page, "R3", "test accuracy after 2 epochs")
    assert "diverged in 1 of 1" in row
    assert row.endswith("not reproduced: diverges |")


def test_a_departure_is_weighed(tmp_path) -> None:
    runs = tmp_path / "results" / "runs"
    for seed, (on, off) in enumerate([(0.95, 0.96), (0.97, 0.99)]):
        keep(runs, [on], seed, study="quirk_r3_eps")
        keep(runs, [off], seed, study="quirk_r3_eps", changes={"optimizer.eps_mode": "torch"})
    row = line(written(tmp_path / "results"), "Adam has ε inside the root")
    assert "| 96.00 ± 1.41 % (n = 2) | 97.50 ± 2.12 % (n = 2) | -1.50 points |" in row


def test_a_changed_run_is_not_the_recipes(tmp_path) -> None:
    keep(tmp_path / "results" / "runs", [0.9, 0.97], changes={"optimizer.lr": 1e-4})
    row = line(written(tmp_path / "results"), "R3", "test accuracy after 2 epochs")
    assert row.endswith(f"{NOT_RUN} | {NOT_RUN} |")


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


def test_claims_and_departures_belong_to_what_there_is() -> None:
    for claim in CLAIMS:
        assert claim.experiment in EXPERIMENTS
        assert set(claim.changes) <= set(recipe(claim.experiment))
        sizes = {"between": 2, "falling": 0}
        assert len(claim.claimed) == sizes.get(claim.rule, len(claim.at))
    for quirk in QUIRKS:
        assert quirk.study in STUDIES
        values = {flatten(asdict(job))[quirk.key] for job in jobs(f"study={quirk.study}")}
        assert values == {quirk.on, quirk.off}


@pytest.mark.parametrize(
    ("rule", "claimed", "figures", "verdict"),
    [
        ("close", (0.98,), [0.9829], "reproduced"),
        ("close", (0.98,), [0.9831], "not reproduced: 0.31 points above"),
        ("close", (0.9, 0.98), [0.9, 0.97], "not reproduced: 1 of 2 figures"),
        ("at least", (0.9,), [0.9], "met"),
        ("at most", (0.9,), [0.91], "not met"),
        ("between", (1.9, 2.0), [1.95, 1.91], "reproduced"),
        ("between", (1.9, 2.0), [1.95, 1.89], "not reproduced"),
        ("falling", (), [3.0, 2.0, 1.0], "reproduced"),
        ("falling", (), [3.0, 2.0, 2.0], "not reproduced"),
    ],
)
def test_verdicts(rule, claimed, figures, verdict, tmp_path, monkeypatch) -> None:
    claim = Claim("r3_lenet5_avgpool", "R3", "", claimed, rule=rule, at=tuple(range(len(figures))))
    monkeypatch.setattr(Claim, "measure", lambda *_: figures)
    assert verdicts.judge(claim, [None]).verdict == verdict  # type: ignore[list-item]


def test_the_committed_page_is_what_its_records_give(tmp_path) -> None:
    kept = ROOT / "docs" / "results" / "runs"
    target = tmp_path / "docs" / "results"
    shutil.copytree(kept, target / "runs")
    assert write(target).read_text() == (ROOT / "docs" / "results.md").read_text()


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
    assert "(numpy, n = 2)" in line(page, "R3", "test accuracy after 2 epochs")
    assert (target / "pictures" / "curve-r3_lenet5_avgpool.png").exists()


def test_long_changes_are_kept_apart(tmp_path) -> None:
    config = {"seed": 0, "backend": {"name": "numpy"}, "data": {}}
    folders = set()
    for residual in (False, True):
        changes = {"model.name": "long" * 30, "model.arguments.residual": residual}
        place = tmp_path, "r1_lenet5_tanh", "r1_future_work"
        record = Record(*place, changes, config, {"reason": ""})
        folders.add(collection._keep(record, tmp_path / "kept"))
    assert len(folders) == 2
