"""A run that was stopped and resumed is the run that never stopped, bit for bit."""

from __future__ import annotations

import json
import shlex
import signal

import pytest

from tests.support import assert_same_run, compose, draw_nothing, metrics, signal_at_step
from tests.trainer.runs import SHORT, finish, notes_of
from training.backends.numpy import NumpyBackend
from training.backends.opening import open_backend
from training.backends.ranks import ALONE
from training.errors import StoppedError
from training.storage.checkpoint import load_checkpoint
from training.trainer.record import RunRecord

BACKENDS = ("numpy", "torch")
pytestmark = pytest.mark.usefixtures("few_digits")


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("model", ["lenet5_bn", "deepcnn21"])
def test_stopped_after_any_step(model, backend, tmp_path, monkeypatch):
    overrides = (f"model={model}", f"backend={backend}", "scheduler.step_size=1")
    whole = finish(tmp_path / "whole", *overrides)
    for step in range(1, 11) if model == "lenet5_bn" else (3,):
        folder = tmp_path / str(step)
        with monkeypatch.context() as patch:
            signal_at_step(patch, step, signal.SIGTERM)
            with pytest.raises(StoppedError):
                finish(folder, *overrides)
        progress = load_checkpoint(folder / "checkpoint.safetensors").record["progress"]
        assert progress["epoch"] * 5 + progress["step"] == step
        assert_same_run(finish(folder, *overrides, resume=True), whole)


@pytest.mark.cuda
@pytest.mark.usefixtures("no_pictures")
def test_stopped_on_cuda(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    overrides = ("backend=torch", "device=cuda", "backend.deterministic=true", "model=deepcnn21")
    whole = finish(tmp_path / "whole", *overrides)
    with monkeypatch.context() as patch:
        signal_at_step(patch, 5, signal.SIGTERM)
        with pytest.raises(StoppedError):
            finish(tmp_path / "part", *overrides)
    assert_same_run(finish(tmp_path / "part", *overrides, resume=True), whole)


def test_deterministic_algorithms_are_asked_for_and_released():
    torch = pytest.importorskip("torch")
    for setting, wanted in (("true", True), ("false", False)):
        open_backend(compose("backend=torch", f"backend.deterministic={setting}"), ALONE)
        assert torch.are_deterministic_algorithms_enabled() is wanted
        assert torch.backends.cudnn.deterministic is wanted


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_optimizer(optimizer, backend, tmp_path, monkeypatch):
    overrides = (f"optimizer={optimizer}", f"backend={backend}", "scheduler=step")
    whole = finish(tmp_path / "whole", *overrides)
    with monkeypatch.context() as patch:
        signal_at_step(patch, 7, signal.SIGINT)
        with pytest.raises(StoppedError):
            finish(tmp_path / "part", *overrides)
    assert_same_run(finish(tmp_path / "part", *overrides, resume=True), whole)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_printed_command_goes_on(backend, call_main, tmp_path, monkeypatch, capsys):
    if backend == "torch":  # pictures do not depend on it
        draw_nothing(monkeypatch)
    arguments = ("data=digits", *SHORT, f"backend={backend}", "backend.threads=1")
    assert call_main(*arguments, "hydra.run.dir=whole") == 0
    with monkeypatch.context() as patch:
        signal_at_step(patch, 8, signal.SIGTERM)
        assert call_main(*arguments, "hydra.run.dir='in part, = it'") == 143
    folder = tmp_path / "in part, = it"
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["status"], summary["epochs"]) == ("interrupted", 1)
    (last,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert "stopped by SIGTERM in epoch 2 after step 3, all saved" in last
    printed = last.partition("resume with: ")[2]
    python, program, *command = shlex.split(printed)
    assert (python, program) == ("python", "train.py")
    assert call_main(*command) == 0
    assert_same_run(folder, tmp_path / "whole")
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["status"], summary["reason"]) == ("finished", "")
    assert summary["notes"] == ["resumed in epoch 2 after step 3"]
    assert {p.name for p in folder.iterdir()} - {
        p.name for p in (tmp_path / "whole").iterdir()
    } == (set())


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_extended_run_is_the_longer_run(backend, call_main, tmp_path):
    arguments = ("data=digits", *SHORT, f"backend={backend}", "backend.threads=1", "scheduler=step")
    arguments = (*arguments, "scheduler.step_size=1")
    assert call_main(*arguments, "trainer.epochs=4", "hydra.run.dir=long") == 0
    assert call_main(*arguments, "hydra.run.dir=short") == 0
    assert call_main("resume=short", "trainer.epochs=4") == 0
    assert_same_run(tmp_path / "short", tmp_path / "long")


@pytest.mark.usefixtures("no_pictures")
def test_a_finished_run_stays_as_it_is(call_main, tmp_path, capsys):
    folder = tmp_path / "run"
    assert call_main("data=digits", *SHORT, "backend=numpy", "hydra.run.dir=run") == 0
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("[!.]*")}
    capsys.readouterr()
    assert call_main("resume=run") == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{folder} has all its results, nothing is left to do: ")
    assert "trainer.epochs=4" in said.out
    assert (said.out.count("\n"), said.err) == (1, "")
    now = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("[!.]*")}
    assert now == before
    (folder / "summary.json").unlink()  # as if the results could not all be written
    assert call_main("resume=run") == 0
    assert json.loads((folder / "summary.json").read_text())["status"] == "finished"


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(("writer", "reader"), [BACKENDS, BACKENDS[::-1]])
def test_across_backends(writer, reader, call_main, tmp_path, monkeypatch, capsys):
    arguments = ("data=digits", *SHORT, f"backend={writer}", "backend.threads=1")
    assert call_main(*arguments, "hydra.run.dir=whole") == 0
    with monkeypatch.context() as patch:
        signal_at_step(patch, 3, signal.SIGINT)
        assert call_main(*arguments, "hydra.run.dir=part") == 130
    assert call_main("resume=part", f"backend={reader}") == 0
    said = f"saved on {writer} (cpu, 1 thread), resumed on {reader} (cpu, 1 thread): the same"
    assert said in capsys.readouterr().out
    for row, expected in zip(*(metrics(tmp_path / d) for d in ("part", "whole")), strict=True):
        assert row["train_loss"] == pytest.approx(expected["train_loss"], abs=1e-4)
        assert row["test_loss"] == pytest.approx(expected["test_loss"], abs=1e-4)


@pytest.mark.usefixtures("no_pictures")
def test_when_it_is_saved(tmp_path, monkeypatch):
    saved = []

    def note(self, original=RunRecord.save):
        saved.append((self.progress.epoch, self.progress.step))
        original(self)

    monkeypatch.setattr(RunRecord, "save", note)
    for number, (every, expected) in enumerate(
        {
            "1 epoch": [(1, 0), (2, 0), (3, 0)],
            "2epochs": [(2, 0), (3, 0)],
            "9 epochs": [(3, 0)],
            "3 steps": [(0, 3), (1, 1), (1, 4), (2, 2), (3, 0)],
            "5 steps": [(1, 0), (2, 0), (3, 0)],
            "1 step": [(e, s) for e in range(3) for s in range(1, 5)] + [(e, 0) for e in (1, 2, 3)],
        }.items()
    ):
        finish(
            tmp_path / str(number),
            "backend=numpy",
            "trainer.epochs=3",
            f"trainer.checkpoint_every={every}",
        )
        assert sorted(saved) == sorted(expected), every
        saved.clear()
    assert_same_run(tmp_path / "0", tmp_path / "5")


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("method", "call", "where"),
    [
        ("begin_epoch", 1, "before the first step"),
        ("train", 2, "in epoch 1 after step 2"),
        ("evaluate", 1, "at the end of epoch 1"),
        ("evaluate", 2, "after the last epoch"),
    ],
)
def test_where_it_was_stopped(method, call, where, call_main, tmp_path, monkeypatch, capsys):
    calls, original = [], getattr(NumpyBackend, method)

    def stop(self, *arguments):
        calls.append(arguments)
        if len(calls) == call:
            signal.raise_signal(signal.SIGINT)
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(NumpyBackend, method, stop)
        assert call_main("data=digits", *SHORT, "backend=numpy", "hydra.run.dir=run") == 130
    assert f"stopped by SIGINT {where}, all saved" in capsys.readouterr().err
    assert call_main("resume=run") == 0
    assert notes_of(tmp_path / "run") == [f"resumed {where}"]
    assert len(metrics(tmp_path / "run")) == 2


@pytest.mark.usefixtures("no_pictures")
def test_resuming_at_the_end_of_an_epoch_warns_of_nothing(tmp_path, monkeypatch, recwarn):
    overrides = ("backend=torch", "scheduler.step_size=1")
    with monkeypatch.context() as patch:
        signal_at_step(patch, 5, signal.SIGTERM)
        with pytest.raises(StoppedError):
            finish(tmp_path / "part", *overrides)
    finish(tmp_path / "part", *overrides, resume=True)
    assert not [w for w in recwarn if "lr_scheduler" in str(w.message)]
