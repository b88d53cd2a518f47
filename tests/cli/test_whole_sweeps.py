"""Whole studies on a few digits: their CSV, their picture, and jobs that fail."""

from __future__ import annotations

import csv
import signal
from pathlib import Path

import pytest

from tests.forked import run, train
from tests.support import signal_at_step

pytestmark = pytest.mark.usefixtures("mnist_of_digits")

QUICK = ("trainer.epochs=2", "trainer.batch_size=32", "backend=numpy", "backend.threads=1")


def lines(directory: Path) -> list[dict[str, str]]:
    with (directory / "study.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_of_seeds_taken_together(call_main, tmp_path, capsys) -> None:
    study = ("study=quirk_r3_eps", "seed=0,1", "hydra.sweep.dir=all")
    assert call_main(*study, *QUICK) == 0
    rows = lines(tmp_path / "all")
    assert [row["optimizer.eps_mode"] for row in rows] == ["inside_root", "torch"]
    for first, row in zip((0, 2), rows, strict=True):
        finals = []
        for job in (first, first + 1):
            (folder,) = (tmp_path / "all").glob(f"{job}_*")
            with (folder / "metrics.csv").open(newline="") as file:
                finals.append(float(list(csv.DictReader(file))[-1]["test_accuracy"]))
        assert float(row["test_accuracy"]) == pytest.approx(sum(finals) / 2, rel=1e-5)
        assert float(row["std"]) == pytest.approx(abs(finals[0] - finals[1]) / 2**0.5, 1e-5)
        assert (row["runs"], row["failed"]) == ("2", "0")
    assert (tmp_path / "all" / "study.png").read_bytes().startswith(b"\x89PNG")
    assert "ε inside Adam's root: lenet5_avgpool on mnist" in capsys.readouterr().out


def test_curves_by_epoch(call_main, tmp_path) -> None:
    assert call_main("study=r2_depth", "hydra.sweep.dir=all", *QUICK) == 0
    rows = lines(tmp_path / "all")
    assert [(row["model.arguments.depth"], row["epoch"]) for row in rows] == [
        (depth, epoch) for depth in "654" for epoch in "12"
    ]
    assert (tmp_path / "all" / "study.png").stat().st_size > 10_000


def test_evaluations_begin_before_the_first_epoch_ends(call_main, tmp_path) -> None:
    study = ("study=r2_epochs", "seed=0,1", "hydra.sweep.dir=all")
    assert call_main(*study, *QUICK, "trainer.evaluation_samples=20") == 0
    rows = lines(tmp_path / "all")
    assert [(row["seed"], row["step"]) for row in rows] == [
        (seed, step) for seed in "01" for step in "136"
    ]
    assert all((float(row["train_accuracy"]) * 20).is_integer() for row in rows)


def test_a_diverged_job_is_counted_and_the_others_go_on(call_main, tmp_path, capsys) -> None:
    study = ("study=r2_learning_rate", "optimizer.lr=1e30,1e-2", "hydra.sweep.dir=all")
    assert call_main(*study, *QUICK) == 1
    lost, good = lines(tmp_path / "all")
    assert (lost["runs"], lost["failed"], lost["test_accuracy"]) == ("0", "1", "")
    assert (good["runs"], good["failed"]) == ("1", "0")
    assert 0 < float(good["test_accuracy"]) <= 1
    assert "failed jobs: 1" in capsys.readouterr().err


def test_a_sweep_of_its_own_needs_no_study(call_main, tmp_path) -> None:
    sweep = ("--multirun", "data=mnist", "optimizer.lr=1e-3,1e-2", "hydra.sweep.dir=all")
    assert call_main(*sweep, *QUICK) == 0
    assert [row["optimizer.lr"] for row in lines(tmp_path / "all")] == ["0.001", "0.01"]


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (
            1,
            "5 jobs were not started: seed=0 init=he; seed=1 init=torch; seed=1 init=he; "
            "seed=2 init=torch; seed=2 init=he",
        ),
        (5, "1 job was not started: seed=2 init=he"),
        (6, ""),
    ],
)
def test_a_signal_leaves_jobs_unstarted(job, words, call_main, capsys, monkeypatch) -> None:
    sweep = ("--multirun", "data=mnist", "seed=0,1,2", "init=torch,he", "hydra.sweep.dir=all")
    with monkeypatch.context() as patch:
        steps = 3 * 2 * (job - 1) + 1
        signal_at_step(patch, steps, signal.SIGINT)
        assert call_main(*sweep, *QUICK) == 130
    *told, last = capsys.readouterr().err.splitlines()
    assert told == ([f"train.py: {words}"] if words else [])
    assert last.startswith("train.py: stopped by SIGINT in epoch 1 after step 1, all saved")


def test_jobs_side_by_side(tmp_path) -> None:
    result = run(
        tmp_path,
        train,
        "--multirun",
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
        "data=digits",
        "optimizer.lr=1e-3,1e30",
        "trainer.epochs=1",
        "backend=numpy",
        "backend.threads=1",
        "hydra.sweep.dir=all",
    )
    assert result.returncode == 1
    assert "failed jobs: 1" in result.stderr
    assert "\njob 1: epoch 1/1" in result.stdout
    good, lost = lines(tmp_path / "all")
    assert (good["runs"], lost["runs"]) == ("1", "0")


def test_the_cluster_launcher_composes(call_main, capsys) -> None:
    pytest.importorskip(
        "hydra_plugins.hydra_submitit_launcher", reason="needs lenet-twins[cluster]"
    )
    assert call_main("--cfg", "hydra", "study=seeds", "hydra/launcher=slurm") == 0
    assert "SlurmLauncher" in capsys.readouterr().out
