"""Damaged, foreign and hostile checkpoints: one sentence, nothing run, nothing written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.storage.forgery import forged
from tests.support import assert_same_run
from training.storage.checkpoint import NAME, load_checkpoint, newest

pytestmark = pytest.mark.usefixtures("few_digits", "no_pictures")

RUN = ("data=digits", "backend=numpy", "backend.threads=1", "trainer.epochs=3")


def test_a_damaged_file_falls_back_and_is_never_kept_as_the_previous_one(
    call_main, tmp_path, capsys
):
    assert call_main(*RUN, "hydra.run.dir=whole") == 0
    assert call_main(*RUN, "trainer.epochs=2", "hydra.run.dir=run") == 0
    folder = tmp_path / "run"
    path = folder / NAME
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    capsys.readouterr()
    assert call_main("resume=run", "trainer.epochs=3") == 0
    output = capsys.readouterr().out
    assert f"{path} is damaged" in output
    assert "resuming from the previous checkpoint" in output
    assert "resumed at the end of epoch 1" in output
    assert_same_run(folder, tmp_path / "whole")
    assert (folder / f"{NAME}.damaged").read_bytes() == whole[: len(whole) // 2]
    assert newest(folder)[1] is None
    assert load_checkpoint(folder / f"{NAME}.previous").record["progress"]["epoch"] == 2
    for each in (path, folder / f"{NAME}.previous"):
        each.write_bytes(b"")
    assert call_main("resume=run") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{path} is damaged" in error
    assert f"{path}.previous is damaged" in error


@pytest.fixture
def run(call_main, tmp_path, capsys):
    assert call_main(*RUN, "hydra.run.dir=run", "trainer.epochs=1") == 0
    capsys.readouterr()
    # Without its results there is something left to do, for which the checkpoint is loaded.
    (tmp_path / "run" / "summary.json").unlink()
    return tmp_path / "run"


def test_hostile_records_are_refused(run, call_main, tmp_path, capsys):
    checkpoint = load_checkpoint(run / NAME)
    state, record = checkpoint.state, checkpoint.record

    def config(**changes: object) -> dict:
        return record | {"config": record["config"] | changes}

    hostile = {
        "no format": record | {"format": 9},
        "no config": record | {"config": 3},
        "a hydra setting": config(hydra={"run": {"dir": "/tmp/elsewhere"}}),
        "an environment variable": config(model={"name": "${oc.env:HOME}"}),
        "a path for a network": config(model={"name": "../../evil"}),
        "control characters": config(init={"name": "\x1b[2J"}),
        "a strange key": config(**{"a=b": 1}),
        "thousands of settings": config(model={"arguments": {f"a{n}": 1 for n in range(5000)}}),
        "a huge network": config(
            model={"name": "deepcnn21", "image_size": 28, "arguments": {"hidden": 10**12}}
        ),
        "a deep config": config(model=deep(60)),
        "a progress elsewhere": record | {"progress": {"epoch": -1}},
        "a step beyond": record | {"progress": record["progress"] | {"step": 10**9}},
        "totals of text": record | {"progress": record["progress"] | {"totals": ["a", 1, 2]}},
        "notes for the terminal": record | {"notes": ["\x1b]0;x\x07"]},
        "no maker": {key: value for key, value in record.items() if key != "maker"},
    }
    (run / f"{NAME}.previous").unlink(missing_ok=True)
    for name, forgery in hostile.items():
        (run / NAME).write_bytes(forged(forgery, {n: np.array(a) for n, a in state.items()}))
        before = sorted(path.name for path in tmp_path.rglob("*"))
        assert call_main("resume=run") == 2, name
        error = capsys.readouterr().err
        assert error.startswith("train.py: "), name
        assert error.count("\n") == 1, (name, error)
        assert "\x1b" not in error, name
        assert sorted(path.name for path in tmp_path.rglob("*")) == before, name


def test_a_checkpoint_of_another_version_is_told_from_a_damaged_one(run, call_main, capsys):
    checkpoint = load_checkpoint(run / NAME)
    state, record = checkpoint.state, checkpoint.record
    arrays = {n: np.array(a) for n, a in state.items()}
    (run / NAME).write_bytes(forged(record | {"format": 1}, arrays))
    assert call_main("resume=run") == 2
    assert (
        "saves runs in another format (1, here 3): resume it with that version"
        in capsys.readouterr().err
    )


def deep(levels: int) -> dict:
    return {"arguments": deep(levels - 1)} if levels else {}


def test_hostile_states_are_refused(run, call_main, capsys):
    checkpoint = load_checkpoint(run / NAME)
    state, record = checkpoint.state, checkpoint.record
    state = {name: np.array(array) for name, array in state.items()}
    for name, array in {
        "optimizer.step": np.array([1, 2]),
        "optimizer.lr": np.asarray(1e30),
        "optimizer.exp_avg_sq.c1.bias": np.full(6, -1, np.float32),
        "model.out.bias": np.full(10, np.nan, np.float32),
        "optimizer.exp_avg.c1.bias": np.full(6, np.inf, np.float32),
        "scheduler.last_epoch": np.asarray(3),
        "model.c1.bias": np.zeros(5, np.float32),
        "progress.metrics": np.zeros((3, 8)),
        "progress.steps": np.array([[2.0, 0, 0], [1, 0, 0]]),
        "progress.evaluations": np.zeros(4),
    }.items():
        (run / NAME).write_bytes(forged(record, state | {name: array}))
        assert call_main("resume=run") == 2, name
        assert (error := capsys.readouterr().err).count("\n") == 1
        assert name in error or "learning rate" in error or "its run" in error


def test_no_path_is_taken_from_a_checkpoint(run, call_main, tmp_path, monkeypatch):
    import training.trainer.dataset
    from tests import support

    checkpoint = load_checkpoint(run / NAME)
    state, record = checkpoint.state, checkpoint.record
    assert "root" not in record["config"]["data"]
    record["config"]["data"]["root"] = str(tmp_path / "hostile")
    (run / NAME).write_bytes(forged(record, {n: np.array(a) for n, a in state.items()}))
    roots: list[str | None] = []

    def load(name: str, root: str | None, *_: object):
        roots.append(root)
        return support.few_digits()

    monkeypatch.setattr(training.trainer.dataset, "_load_once", load)
    assert call_main("resume=run") == 0
    assert set(roots) == {None}
    assert not Path(tmp_path / "hostile").exists()
