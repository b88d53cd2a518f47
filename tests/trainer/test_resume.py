"""A run that was stopped and resumed is the run that never stopped, bit for bit."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from tests.support import assert_same_run, compose, metrics, signal_at_step
from training.backends.numpy import NumpyBackend
from training.backends.opening import open_backend
from training.backends.ranks import ALONE
from training.errors import ConfigError, StoppedError
from training.storage.checkpoint import load_checkpoint
from training.trainer import resume
from training.trainer.trainer import Trainer, run

BACKENDS = ("numpy", "torch")
# Five steps an epoch, the last of 16 images.
SHORT = ("trainer.epochs=2", "trainer.batch_size=20", "data.flip=0.5", "backend.threads=1")
pytestmark = pytest.mark.usefixtures("few_digits")


def finish(folder: Path, *overrides: str, resume: bool = False) -> Path:
    config = compose(*SHORT, *overrides)
    folder.mkdir(exist_ok=True)
    run(replace(config, resume=str(folder)) if resume else config, folder)
    return folder


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
    printed = last.partition("go on with: ")[2]
    assert f"\"resume='{folder}'\"" in printed
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
    assert said.out.startswith(f"{folder} already has its 2 epochs, nothing is left to do: ")
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

    def note(self, original=Trainer._save):
        saved.append((self.progress.epoch, self.progress.step))
        original(self)

    monkeypatch.setattr(Trainer, "_save", note)
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


@pytest.fixture
def stopped(call_main, tmp_path, monkeypatch, capsys) -> Path:
    with monkeypatch.context() as patch:
        signal_at_step(patch, 8, signal.SIGINT)
        arguments = ("data=digits", *SHORT, "backend=numpy", "backend.threads=1")
        assert call_main(*arguments, "hydra.run.dir=run") == 130
    capsys.readouterr()
    return tmp_path / "run"


def one_line(capsys) -> str:
    output = capsys.readouterr().err
    assert output.startswith("train.py: ")
    assert output.count("\n") == 1, output
    return output


def notes_of(folder: Path) -> list[str]:
    return json.loads((folder / "summary.json").read_text())["notes"]


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
def test_a_changed_configuration(stopped, call_main, capsys):
    before = {path.name: path.read_bytes() for path in stopped.glob("[!.]*")}
    for change, words in {
        "optimizer.lr=0.1": "optimizer.lr was 0.001 and is 0.1",
        "data.flip=0": "data.flip was 0.5 and is 0.0",
        "trainer.batch_size=10": "trainer.batch_size was 20 and is 10",
        "seed=3": "seed was 0 and is 3",
        "model.arguments.ties=all": "model.arguments.ties was first and is all",
        "model=lenet5_bn": "model.name was lenet5_relu and is lenet5_bn",
        "optimizer=sgd": "optimizer.name was adam and is sgd",
        "scheduler.step_size=4": "scheduler.step_size was None and is 4",
    }.items():
        assert call_main("resume=run", change) == 2
        line = one_line(capsys)
        assert words in line
        assert "resume_override=true" in line
    for change, words in {"model=lenet5_bn": "bn2", "optimizer=sgd": "momentum_buffer"}.items():
        assert call_main("resume=run", change, "resume_override=true") == 2
        assert words in one_line(capsys)
    assert {path.name: path.read_bytes() for path in stopped.glob("[!.]*")} == before


@pytest.mark.usefixtures("no_pictures")
def test_an_insisted_change_takes_effect_and_is_recorded(stopped, call_main):
    changes = ("optimizer.lr=0.01", "scheduler.step_size=1", "scheduler.gamma=0.1")
    assert call_main("resume=run", *changes, "resume_override=true") == 0
    assert [row["lr"] for row in metrics(stopped)] == pytest.approx([1e-3, 1e-3])
    notes = notes_of(stopped)
    assert "optimizer.lr was 0.001 and is 0.01" in notes[0]
    assert notes[1] == "resumed in epoch 2 after step 3"


# Eight steps of 20 images were taken: five for the first epoch, three for the second.
@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("change", "steps", "anew"),
    [
        ("optimizer.weight_decay=0.1", 8 + 2, False),
        ("seed=3", 8 + 5, True),
        ("data.flip=0", 8 + 5, True),
        ("trainer.batch_size=50", 8 + 2, True),
        ("trainer.batch_size=10", 8 + 10, True),
    ],
)
def test_an_epoch_in_another_order_begins_anew(
    change, steps, anew, stopped, call_main, monkeypatch
):
    seen = []

    def note(self, first, last, original=NumpyBackend.train):
        offsets = self._plan.offsets
        seen.extend(self._plan.indices[offsets[first] : offsets[last]])
        original(self, first, last)

    monkeypatch.setattr(NumpyBackend, "train", note)
    assert call_main("resume=run", change, "resume_override=true") == 0
    checkpoint = load_checkpoint(stopped / "checkpoint.safetensors")
    assert int(checkpoint.state["optimizer.step"]) == steps
    assert resume.changes(checkpoint.record["config"], asdict(compose(*SHORT, change))) == []
    assert sorted(seen) == list(range(96)) if anew else len(seen) == 36
    note, where = notes_of(stopped)
    assert f"{change.partition('=')[0]} was" in note
    assert note.endswith("; epoch 2 begins anew") is anew
    assert where == ("resumed at the end of epoch 1" if anew else "resumed in epoch 2 after step 3")


@pytest.mark.usefixtures("no_pictures")
def test_another_number_of_steps_begins_the_epoch_anew(call_main, tmp_path, monkeypatch):
    drawn = ("data=digits", *SHORT, "backend=numpy", "data.sampling=replacement")
    with monkeypatch.context() as patch:
        signal_at_step(patch, 6, signal.SIGINT)  # the second of four in the second epoch
        assert call_main(*drawn, "hydra.run.dir=run") == 130
    change = ("trainer.steps_per_epoch=1", "resume_override=true")
    assert call_main("resume=run", *change) == 0
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors")
    assert int(checkpoint.state["optimizer.step"]) == 6 + 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("resume=nowhere",), "there is no folder"),
        (("resume=.",), "there is no checkpoint.safetensors in"),
        (("resume=",), "resume needs the folder of a run"),
        (("resume=''",), "resume needs the folder of a run"),
        (("resume=run", "trainer.epochs=x"), "trainer.epochs must be a whole number"),
        (("resume=run", "experiment=r0"), "exclude each other"),
        (("resume=run", "hydra.run.dir=other"), "exclude each other"),
        (("resume=run", "seed=1,2", "--multirun"), "--multirun"),
        (("resume=run", "epohcs=2"), "did you mean trainer.epochs"),
        (("trainer.checkpoint_every=often",), "'1 epoch' or '200 steps'"),
        (("trainer.checkpoint_every=0 steps",), "'1 epoch' or '200 steps'"),
    ],
)
def test_mistakes(stopped, arguments, words, call_main, capsys):
    assert call_main(*arguments) == 2
    assert words in one_line(capsys)


@pytest.mark.parametrize("name", ["plain", "a b", "it's", 'a "b"', "$HOME `a`", "a\\b !c", "(a)"])
def test_a_printed_command_can_be_pasted(name, tmp_path, call_main, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    command = resume.command(tmp_path / name, compose())
    pasted = ["sh", "-c", f'printf "%s\\n" {command.partition("train.py ")[2]}']
    shell = subprocess.run(pasted, capture_output=True, text=True, check=True)
    (argument,) = shell.stdout.splitlines()
    assert shlex.split(command)[2:] == [argument]
    assert call_main(argument) == 2
    assert f"there is no folder {tmp_path / name}" in one_line(capsys)


def test_a_folder_of_runs_is_no_run(tmp_path, call_main, capsys):
    runs = [tmp_path / "day" / name for name in ("a", "sweep/0", "sweep/1", "sweep/2")]
    for folder in runs:
        folder.mkdir(parents=True)
        (folder / "checkpoint.safetensors").touch()
    assert call_main("resume=day/sweep") == 2
    line = one_line(capsys)
    assert line.endswith(f"{', '.join(f'resume={folder}' for folder in runs[1:])}\n")
    assert call_main("resume=day") == 2
    assert one_line(capsys).endswith(f"resume={runs[2]} and 1 more\n")
    assert call_main("resume=day/a") == 2
    assert "inside" not in one_line(capsys)


def test_fewer_epochs_than_there_are(stopped, call_main, capsys):
    assert call_main("resume=run", "trainer.epochs=2") == 0
    capsys.readouterr()
    assert call_main("resume=run", "trainer.epochs=1") == 2
    assert "trainer.epochs=1: the run already has 2 epochs" in one_line(capsys)


def test_two_processes_do_not_share_a_folder(stopped, call_main, capsys):
    from training.storage.run_folder import hold

    with hold(stopped):
        assert call_main("resume=run") == 2
        assert "another process is training in" in one_line(capsys)
    assert call_main("resume=run") == 0


def test_other_data_are_noticed(stopped, call_main, capsys, monkeypatch):
    from tests.support import few_digits

    monkeypatch.setattr("training.trainer.dataset._load_once", lambda *_: few_digits(train=90))
    assert call_main("resume=run") == 2
    line = one_line(capsys)
    assert "dataset.train_images was 96 and is 90; add resume_override=true" in line


def test_resuming_at_the_end_of_an_epoch_warns_of_nothing(tmp_path, monkeypatch, recwarn):
    overrides = ("backend=torch", "scheduler.step_size=1")
    with monkeypatch.context() as patch:
        signal_at_step(patch, 5, signal.SIGTERM)
        with pytest.raises(StoppedError):
            finish(tmp_path / "part", *overrides)
    finish(tmp_path / "part", *overrides, resume=True)
    assert not [w for w in recwarn if "lr_scheduler" in str(w.message)]


def test_a_state_of_another_network_is_refused(tmp_path):
    folder = finish(tmp_path / "run", "backend=numpy")
    with pytest.raises(ConfigError, match="missing"):
        finish(folder, "backend=numpy", "model=lenet5_bn", "resume_override=true", resume=True)
    assert np.isfinite(metrics(folder)[-1]["test_loss"])
