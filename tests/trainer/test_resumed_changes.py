"""What may change as a run is resumed, what begins its epoch anew, and what is refused."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from tests.support import compose, metrics, signal_at_step
from tests.trainer.runs import SHORT, finish, notes_of, one_line
from training.backends.numpy import NumpyBackend
from training.errors import ConfigError
from training.storage.checkpoint import load_checkpoint
from training.trainer import resume

pytestmark = pytest.mark.usefixtures("few_digits", "no_pictures")


@pytest.fixture
def stopped(call_main, tmp_path, monkeypatch, capsys) -> Path:
    with monkeypatch.context() as patch:
        signal_at_step(patch, 8, signal.SIGINT)
        arguments = ("data=digits", *SHORT, "backend=numpy", "backend.threads=1")
        assert call_main(*arguments, "hydra.run.dir=run") == 130
    capsys.readouterr()
    return tmp_path / "run"


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


def test_an_insisted_change_takes_effect_and_is_recorded(stopped, call_main):
    changes = ("optimizer.lr=0.01", "scheduler.step_size=1", "scheduler.gamma=0.1")
    assert call_main("resume=run", *changes, "resume_override=true") == 0
    assert [row["lr"] for row in metrics(stopped)] == pytest.approx([1e-3, 1e-3])
    notes = notes_of(stopped)
    assert "optimizer.lr was 0.001 and is 0.01" in notes[0]
    assert notes[1] == "resumed in epoch 2 after step 3"


# Eight steps of 20 images were taken: five for the first epoch, three for the second.
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
    assert resume.changes(checkpoint.record["config"], asdict(compose(*SHORT, change))) == {}
    assert sorted(seen) == list(range(96)) if anew else len(seen) == 36
    note, where = notes_of(stopped)
    assert f"{change.partition('=')[0]} was" in note
    assert note.endswith("; epoch 2 restarts") is anew
    assert where == ("resumed at the end of epoch 1" if anew else "resumed in epoch 2 after step 3")


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
        ((f"resume={'x' * 300}",), "there is no folder"),
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
    assert "dataset.train_images was 96 and is 90; leave it as it was, or add resume" in line


def test_a_state_of_another_network_is_refused(tmp_path):
    folder = finish(tmp_path / "run", "backend=numpy")
    with pytest.raises(ConfigError, match="missing"):
        finish(folder, "backend=numpy", "model=lenet5_bn", "resume_override=true", resume=True)
    assert np.isfinite(metrics(folder)[-1]["test_loss"])


def test_a_folder_that_cannot_be_written(stopped, call_main, capsys, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert call_main("resume=run") == 2
    assert f"cannot write results to {stopped}: copy the folder" in one_line(capsys)
