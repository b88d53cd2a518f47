"""What a run's folder says of it: times, figures, sizes, and where it ended."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from safetensors import safe_open

from tests.storage.forgery import forged
from tests.support import few_digits, metrics, signal_at_step
from tests.trainer.runs import SHORT, finish
from training import environment
from training.backends.numpy import NumpyBackend
from training.errors import ConfigError, StoppedError
from training.storage.checkpoint import NAME, load_checkpoint
from training.trainer import record, trainer

pytestmark = pytest.mark.usefixtures("few_digits", "no_pictures")


def tick(monkeypatch: pytest.MonkeyPatch, module) -> None:
    """Have a second pass between any two looks at the clock of a module."""
    clock = count(1000)
    monkeypatch.setattr(module, "perf_counter", lambda: float(next(clock)))


def stop(folder: Path, step: int, *overrides: str) -> Path:
    """Train in a folder until a signal during a step."""
    with pytest.MonkeyPatch.context() as patch:
        signal_at_step(patch, step, signal.SIGTERM)
        with pytest.raises(StoppedError):
            finish(folder, *overrides)
    return folder


def test_an_epochs_seconds_are_its_steps(tmp_path, monkeypatch):
    """Five steps of a second each, also where the epoch was interrupted after its third."""
    tick(monkeypatch, trainer)
    folder = stop(tmp_path / "run", 8, "backend=numpy")
    assert load_checkpoint(folder / NAME).record["progress"]["seconds"] == 3
    finish(folder, "backend=numpy", resume=True)
    for row in metrics(folder):
        assert (row["seconds"], row["images_per_second"]) == (5, 96 / 5)


def test_a_runs_seconds_go_on_where_they_stood(tmp_path, monkeypatch):
    """The clock is looked at as a run begins, at each of its saves, and at its end."""
    tick(monkeypatch, record)
    folder = finish(tmp_path / "run", "backend=numpy")
    assert load_checkpoint(folder / NAME).record["seconds"] == 2
    assert json.loads((folder / "summary.json").read_text())["seconds"] == 3
    finish(folder, "backend=numpy", "trainer.epochs=3", resume=True)
    assert load_checkpoint(folder / NAME).record["seconds"] == 3
    assert json.loads((folder / "summary.json").read_text())["seconds"] == 4


def test_a_summary_says_everything_of_a_run(tmp_path):
    folder = finish(tmp_path / "run", "backend=numpy", "seed=4", "data.validation=20")
    text = (folder / "summary.json").read_text()
    assert text.startswith('{\n  "status": "finished",\n')
    assert text.endswith("}\n")
    summary, rows, whole = json.loads(text), metrics(folder), few_digits()
    assert summary["training_seconds"] == pytest.approx(sum(row["seconds"] for row in rows))
    assert summary["seconds"] > summary["training_seconds"]
    date = datetime.fromisoformat(summary["date"])
    assert len(summary["date"]) == len("2026-01-01T00:00:00+00:00")
    assert timedelta(0) <= datetime.now(UTC) - date < timedelta(minutes=1)
    note = f"{whole.note}; " if whole.note else ""
    assert summary == {
        "status": "finished",
        "reason": "",
        "model": "lenet5_relu",
        "backend": "numpy",
        "device": "cpu",
        "threads": 1,
        "dataset": "digits",
        "dataset_source": whole.source,
        "dataset_note": f"{note}tested on 20 images held out of the training set, not on the test "
        "images",
        "train_images": 76,
        "test_images": 20,
        "epochs": 2,
        "seed": 4,
        "test_accuracy": rows[-1]["test_accuracy"],
        "test_loss": rows[-1]["test_loss"],
        "parameters": 61706,
        "seconds": summary["seconds"],
        "training_seconds": summary["training_seconds"],
        "notes": [],
        "processor": environment.processor(),
        "blas": environment.blas(),
        "versions": environment.versions("numpy"),
        "date": summary["date"],
    }


def test_weights_say_which_network_they_belong_to(tmp_path):
    options = ("model=deepcnn21", "model.arguments.hidden=8", "data.scaling=unit")
    folder = finish(tmp_path / "run", "backend=numpy", "trainer.epochs=1", *options)
    with safe_open(folder / "weights.safetensors", framework="numpy") as file:
        metadata = file.metadata()
    assert json.loads(metadata.pop("arguments"))["hidden"] == 8
    assert metadata == {"model": "deepcnn21", "image_size": "28", "scaling": "unit"}


def test_a_resumed_folder_is_that_of_a_run_begun_there(tmp_path):
    """Its settings are the run's own, and what failed or killed processes left is gone."""
    folder = stop(tmp_path / "run", 3, "backend=numpy")
    for left in ("failure.txt", ".metrics.csv.0123abcd.tmp"):
        (folder / left).touch()
    finish(folder, "backend=numpy", "resume_override=true", resume=True)
    config = OmegaConf.load(folder / "config.yaml")
    assert (config.resume, config.resume_override) == (None, False)
    assert not (folder / "failure.txt").exists()
    assert not (folder / ".metrics.csv.0123abcd.tmp").exists()


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("trainer.log_every=2",),
        ("trainer.log_every=2", "trainer.evaluation_samples=9"),
    ],
    ids=str,
)
def test_the_size_of_the_last_checkpoint_is_foreseen(backend, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(record, "MAX_HEADER_BYTES", 0)
    folder = finish(tmp_path / "run", f"backend={backend}", *settings)
    scalars = 8 * {"numpy": 1, "torch": 3}[backend]  # the epoch; and the step and the rate
    tensors = sum(array.nbytes for array in load_checkpoint(folder / NAME).state.values())
    monkeypatch.setattr(record, "MAX_BYTES", 0)
    with pytest.raises(ConfigError, match=f"it would have {tensors - scalars:,} bytes"):
        finish(tmp_path / "other", f"backend={backend}", *settings)


def test_a_first_step_after_resuming_that_diverges_is_named_alone(
    call_main, tmp_path, capsys, monkeypatch
):
    run = ("data=digits", *SHORT, "backend=numpy", "hydra.run.dir=run")
    with monkeypatch.context() as patch:
        signal_at_step(patch, 3, signal.SIGTERM)
        assert call_main(*run) == 143

    def ruined(self, *arguments, original=NumpyBackend.begin_epoch):
        original(self, *arguments)
        self._net.flat_parameters[...] = np.inf

    monkeypatch.setattr(NumpyBackend, "begin_epoch", ruined)
    capsys.readouterr()
    assert call_main("resume=run") == 3
    told = capsys.readouterr().err
    assert "no longer finite in epoch 1, step 4, at learning rate 0.001; the last good" in told
    assert f"resume={tmp_path / 'run'} resume_override=true optimizer.lr=..." in told


def test_a_test_loss_that_diverges_names_the_epochs_last_step(call_main, capsys, monkeypatch):
    def infinite(self, *arguments, original=NumpyBackend.evaluate):
        return original(self, *arguments) * np.float32(np.inf)

    monkeypatch.setattr(NumpyBackend, "evaluate", infinite)
    assert call_main("data=digits", *SHORT, "backend=numpy", "hydra.run.dir=run") == 3
    assert "epoch 1, step 5, at learning rate 0.001; no checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rate", "factor", "good"),
    [
        (1e-3, 1 + 1e-9, True),
        (1e-3, 1 + 1e-6, False),
        (1e-12, 1 + 1e-6, False),
        (1e-12, 2, False),
    ],
)
def test_a_rate_that_the_schedule_cannot_have_come_to(rate, factor, good, tmp_path):
    """Rounding is allowed for, and nothing else, however small the rate."""
    options = ("backend=numpy", f"optimizer.lr={rate!r}", "scheduler.step_size=1")
    folder = stop(tmp_path / "run", 8, *options)
    checkpoint = load_checkpoint(folder / NAME)
    state, saved = checkpoint.state, checkpoint.record
    state = {name: np.array(array) for name, array in state.items()}
    state["optimizer.lr"] *= factor
    (folder / NAME).write_bytes(forged(saved, state))
    if good:
        finish(folder, *options, resume=True)
        return
    with pytest.raises(ConfigError, match="its learning rate is not the"):
        finish(folder, *options, resume=True)


def test_on_a_terminal_a_run_draws_its_progress(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("tqdm.tqdm.update", lambda bar, more: drawn.append((bar.desc, more)))
    drawn: list[tuple[str, int]] = []
    finish(tmp_path / "run", "backend=numpy")
    # As the bar stands still here, each of the five steps is told from its beginning on.
    told = [*range(1, 6)]
    assert drawn == [(f"epoch {epoch}/2", step) for epoch in (1, 2) for step in told]
