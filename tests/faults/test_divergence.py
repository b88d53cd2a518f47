"""A loss that is no longer finite ends the run, and says where and what is still good."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.support import at_step, compose, few_digits, metrics
from training.backends.opening import open_backend
from training.backends.ranks import ALONE
from training.errors import DivergenceError
from training.storage.checkpoint import newest
from training.trainer.console import Console
from training.trainer.record import RunRecord
from training.trainer.signals import StopRequest
from training.trainer.trainer import Trainer

pytestmark = pytest.mark.usefixtures("few_digits", "no_pictures")
RUN = ("data=digits", "backend.threads=1", "trainer.epochs=3", "trainer.batch_size=32")


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_a_run_that_diverges(backend, call_main, tmp_path, monkeypatch, capsys):
    """After the first of three epochs, steps become so long that the numbers overflow."""
    sides = []
    with monkeypatch.context() as patch:
        keep_backend(patch, sides)
        at_step(patch, 4, lambda: blow_up(sides[-1]))
        assert call_main(*RUN, f"backend={backend}", "hydra.run.dir=run") == 3
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1, captured.err
    folder = tmp_path / "run"
    assert "in epoch 2, step 2, at learning rate 0.001; the last good" in captured.err
    assert str(folder / "checkpoint.safetensors") in captured.err
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["status"], summary["epochs"]) == ("diverged", 1)
    assert summary["reason"] in captured.err
    assert summary["test_accuracy"] == metrics(folder)[-1]["test_accuracy"]
    content, _ = newest(folder)
    assert content.record["progress"]["epoch"] == 1
    assert call_main(f"resume={folder}", "resume_override=true", "optimizer.lr=1e-4") == 0
    assert [row["lr"] for row in metrics(folder)] == pytest.approx([1e-3, 1e-4, 1e-4])
    assert json.loads((folder / "summary.json").read_text())["status"] == "finished"


def keep_backend(monkeypatch, sides: list) -> None:
    monkeypatch.setattr(
        "training.trainer.trainer.open_backend",
        lambda *a: sides.append(open_backend(*a)) or sides[-1],
    )


def blow_up(backend, name: str = "model.out.bias") -> None:
    state = backend.state()
    state[name] = np.full_like(state[name], np.inf)
    backend.load_state(state)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_nothing_was_saved_yet(backend, call_main, tmp_path, capsys):
    arguments = (*RUN, f"backend={backend}", "optimizer=sgd", "optimizer.lr=1e30")
    assert call_main(*arguments, "hydra.run.dir=run") == 3
    error = capsys.readouterr().err
    assert "epoch 1, step 2, at learning rate 1e+30; no checkpoint was saved" in error
    assert error.count("\n") == 1
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["test_accuracy"]) == ("diverged", None)


@pytest.mark.parametrize("every", ["1 epoch", "3 steps"])
def test_weights_that_are_not_finite_are_never_saved(
    every, call_main, tmp_path, monkeypatch, capsys
):
    """The last step before a save ruins the weights, after a loss that was still finite."""
    sides = []
    keep_backend(monkeypatch, sides)
    at_step(monkeypatch, 6, lambda: blow_up(sides[-1]))
    setting = f"trainer.checkpoint_every={every}"
    assert call_main(*RUN, "backend=numpy", setting, "hydra.run.dir=run") == 3
    assert "the last good checkpoint" in capsys.readouterr().err
    assert newest(tmp_path / "run")[0].record["progress"]["epoch"] == 1


def test_the_other_jobs_of_a_sweep_go_on(call_main, tmp_path, monkeypatch, capsys):
    def broken(path, *_):
        if "seed=8" in (path.parent / ".hydra" / "overrides.yaml").read_text():
            raise ZeroDivisionError("a defect")

    monkeypatch.setattr("training.trainer.pictures.curves", broken)
    arguments = (*RUN, "backend=numpy", "optimizer=sgd", "seed=7,8", "hydra.sweep.dir=all")
    assert call_main("--multirun", *arguments, "optimizer.lr=1e30,1e-2") == 1
    first, *lines = capsys.readouterr().err.splitlines()[-4:]
    assert first == "train.py: failed jobs: 3, the others continued"
    words = ["no longer finite", "no longer finite", "ZeroDivisionError: a defect"]
    for line, job, word in zip(lines, (0, 2, 3), words, strict=True):
        assert line.startswith(f"  {tmp_path / 'all'}/{job}_")
        assert word in line
    status = {
        path.parent.name[0]: json.loads(path.read_text())["status"]
        for path in tmp_path.glob("all/*/summary.json")
    }
    assert status == {"0": "diverged", "1": "finished", "2": "diverged"}
    assert "Traceback" in next(tmp_path.glob("all/3_*/failure.txt")).read_text()


def test_where_a_call_takes_many_steps_it_is_waited_for_once(tmp_path):
    """Where a look at the loss waits for the device, it is taken once, and tells a range."""
    config = compose("backend=numpy", "trainer.batch_size=10", "optimizer=sgd", "optimizer.lr=1e30")
    config.trainer.epochs = 1
    backend, looks, dataset = open_backend(config, ALONE), [], few_digits()
    backend.place(dataset)
    backend.steps_per_call, totals = 64, backend.totals
    backend.totals = lambda: looks.append(None) or totals()
    record = RunRecord(config, backend, dataset, ALONE, tmp_path, Console(silent=True))
    trainer = Trainer(record, StopRequest())
    with np.errstate(all="ignore"), pytest.raises(DivergenceError, match="steps 1 to 10"):
        trainer.fit()
    assert len(looks) == 1


@pytest.mark.parametrize(
    ("step", "where"), [(5, "in epoch 2 after step 2"), (6, "at the end of epoch 2")]
)
def test_a_state_that_is_not_finite_says_where_it_is(
    step, where, call_main, tmp_path, monkeypatch, capsys
):
    """Where the loss does not tell: the moments are ruined, and the weights not yet."""
    sides = []
    keep_backend(monkeypatch, sides)
    at_step(monkeypatch, step, lambda: blow_up(sides[-1], "optimizer.exp_avg.out.bias"))
    setting = "trainer.checkpoint_every=1 step"
    assert call_main(*RUN, "backend=numpy", setting, "hydra.run.dir=run") == 3
    told = capsys.readouterr().err
    assert f"the state is not finite {where}, at learning rate 0.001; the last good" in told
    progress = newest(tmp_path / "run")[0].record["progress"]
    assert progress["epoch"] * 3 + progress["step"] == step - 1
