"""Whole runs on digits: from the command line, and what they leave behind."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from safetensors.numpy import load_file

from tests import forked
from tests.support import MODELS, ROOT, compose, metrics, train_py
from training.backends.opening import open_backend
from training.backends.ranks import ALONE
from training.data import load_dataset
from training.storage.checkpoint import load_checkpoint
from training.trainer.console import heading
from training.trainer.evaluation import score

SHORT = ("data=digits", "trainer.epochs=1", "backend.threads=1", "trainer.batch_size=32")
FILES = {
    "checkpoint.safetensors",
    "config.yaml",
    "confusion.png",
    "curves.png",
    "metrics.csv",
    "summary.json",
    "weights.safetensors",
    "worst.png",
}
COLUMNS = [
    "epoch",
    "lr",
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "seconds",
    "images_per_second",
]


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> dict[str, tuple[Path, subprocess.CompletedProcess[str]]]:
    """The same command with either backend, in processes of their own; torch's is a new one."""
    runs = {}
    for backend in ("numpy", "torch"):
        cwd = tmp_path_factory.mktemp(backend)
        # Twelve steps: over many more, deepcnn21 makes large differences of rounding.
        arguments = (*SHORT, "model=deepcnn21", "data.flip=0.5", f"backend={backend}")
        arguments = (*arguments, "trainer.batch_size=128")
        if backend == "torch":
            result = train_py(*arguments, cwd=cwd, MNIST_ROOT="")
        else:
            result = forked.run(cwd, forked.train, *arguments, MNIST_ROOT="")
        assert result.returncode == 0, result.stderr
        runs[backend] = Path(result.stdout.splitlines()[-1]), result
    return runs


def test_same_curve(both):
    ours, theirs = (metrics(both[name][0]) for name in ("numpy", "torch"))
    assert len(ours) == len(theirs) == 1
    for row, other in zip(ours, theirs, strict=True):
        assert row["lr"] == other["lr"]
        assert abs(row["train_loss"] - other["train_loss"]) < 1e-4
        assert abs(row["test_loss"] - other["test_loss"]) < 1e-4
        assert abs(row["train_accuracy"] - other["train_accuracy"]) < 0.01


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_what_a_run_leaves(both, backend):
    directory, result = both[backend]
    assert {p.name for p in directory.iterdir()} == FILES | {".hydra"}
    assert directory.parent.parent.name == "outputs"
    assert directory.name.endswith(f"_deepcnn21_{backend}")
    assert result.stderr == ""
    summary = json.loads((directory / "summary.json").read_text())
    last = metrics(directory)[-1]
    expected = {
        "model": "deepcnn21",
        "backend": backend,
        "device": "cpu",
        "dataset": "digits",
        "train_images": 1437,
        "test_images": 360,
        "epochs": 1,
        "seed": 0,
        "test_accuracy": last["test_accuracy"],
        "test_loss": last["test_loss"],
        "parameters": 85152,
        "threads": 1,
    }
    assert {key: summary[key] for key in expected} == expected
    assert summary["seconds"] > summary["training_seconds"] > 0
    assert ("torch" in summary["versions"]) == (backend == "torch")
    with (directory / "metrics.csv").open() as file:
        assert next(csv.reader(file)) == COLUMNS
    assert last["images_per_second"] == pytest.approx(1437 / last["seconds"])
    saved = OmegaConf.load(directory / "config.yaml")
    assert saved.trainer.epochs == 1
    assert saved.backend.name == backend
    for name in ("curves", "confusion", "worst"):
        assert (directory / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_what_a_run_prints(both, backend):
    directory, result = both[backend]
    lines = result.stdout.splitlines()
    accuracy = metrics(directory)[-1]["test_accuracy"]
    assert lines[0].startswith("data: digits")
    assert "not accuracies on MNIST" in lines[0]
    assert lines[-2] == f"test accuracy {accuracy * 100:.2f} % (digits, 360 images)"
    assert any(line.split() == ["conv1", "Conv2d", "16×26×26", "160"] for line in lines)
    assert sum(line.startswith("epoch 1/1") for line in lines) == 1


@pytest.mark.parametrize("reader", ["numpy", "torch"])
@pytest.mark.parametrize("writer", ["numpy", "torch"])
def test_either_backend_reads_the_weights(both, writer, reader):
    directory, _ = both[writer]
    weights = load_file(directory / "weights.safetensors")
    checkpoint = load_checkpoint(directory / "checkpoint.safetensors")
    for name, array in weights.items():
        np.testing.assert_array_equal(checkpoint.state[f"model.{name}"], array)
    backend = open_backend(compose("model=deepcnn21", f"backend={reader}"), ALONE)
    dataset = load_dataset("digits", announce=lambda _: None)
    backend.place(dataset)
    backend.load_state({n: a for n, a in checkpoint.state.items() if not n.startswith("progress.")})
    loss = score(backend.evaluate(), dataset.test_labels).loss
    assert loss == pytest.approx(metrics(directory)[-1]["test_loss"], abs=1e-5)


@pytest.mark.usefixtures("few_digits", "no_pictures")
@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("model", MODELS)
def test_every_pair_runs(model, backend, call_main, tmp_path, capsys):
    arguments = (*SHORT, f"model={model}", f"backend={backend}", "hydra.run.dir=here")
    assert call_main(*arguments) == 0
    assert {p.name for p in (tmp_path / "here").iterdir()} == FILES | {".hydra"}
    assert np.isfinite(metrics(tmp_path / "here")[0]["test_loss"])
    assert capsys.readouterr().out.splitlines()[-1].endswith("here")


@pytest.mark.usefixtures("few_digits", "no_pictures")
@pytest.mark.parametrize(
    "options",
    [
        ("optimizer=sgd", "init=he", "scheduler=step"),
        ("optimizer=adagrad", "init=xavier", "data.scaling=unit"),
        ("init=normal", "data.scaling=raw", "data.sampling=replacement"),
    ],
)
def test_every_option_runs(options, call_main, tmp_path):
    assert call_main(*SHORT, "backend=numpy", "hydra.run.dir=here", *options) == 0
    config = OmegaConf.load(tmp_path / "here" / "config.yaml")
    for option in options:
        key, _, value = option.partition("=")
        if key == "scheduler":
            assert config.scheduler.step_size == 20
        else:
            assert OmegaConf.select(config, key if "." in key else f"{key}.name") == value


@pytest.mark.parametrize("compiles", ["true", "false"])
def test_compiling_is_announced_where_it_is_waited_for(compiles):
    config = compose("backend=torch", f"backend.compile={compiles}")
    text = heading(config, open_backend(compose("backend=numpy"), ALONE), "as asked")
    assert text.endswith("\ncompiling: the first epoch takes longer") is (compiles == "true")


@pytest.mark.usefixtures("few_digits", "no_pictures")
def test_sweep_gives_every_job_its_folder(call_main, tmp_path):
    sweep = ("--multirun", *SHORT, "backend=numpy,torch", "seed=1,2", "hydra.sweep.dir=all")
    assert call_main(*sweep) == 0
    folders = sorted(path.parent for path in tmp_path.glob("all/*/summary.json"))
    assert [f.name for f in folders] == [
        "0_lenet5_relu_numpy",
        "1_lenet5_relu_numpy",
        "2_lenet5_relu_torch",
        "3_lenet5_relu_torch",
    ]
    losses = [metrics(folder)[0]["test_loss"] for folder in folders]
    assert losses[0] == pytest.approx(losses[2], abs=1e-6)
    assert abs(losses[0] - losses[1]) > 1e-5
    assert call_main(*sweep, "seed=1", "backend=numpy") == 2
    assert len(list(tmp_path.glob("all*/*/summary.json"))) == 4


@pytest.mark.usefixtures("few_digits", "no_pictures")
def test_the_same_command_twice_gives_the_same_numbers(call_main, tmp_path):
    for backend in ("numpy", "torch"):
        folders = (backend, f"{backend}_again")
        for folder in folders:
            assert call_main(*SHORT, f"backend={backend}", f"hydra.run.dir={folder}") == 0
        one, other = (metrics(tmp_path / folder)[0] for folder in folders)
        for key in COLUMNS[:6]:
            assert one[key] == other[key]


@pytest.mark.usefixtures("no_pictures")
def test_default_epochs_are_said_and_enough(call_main, tmp_path, capsys):
    default = ("data=digits", "backend=numpy", "backend.threads=1", "hydra.run.dir=here")
    assert call_main(*default) == 0
    summary = json.loads((tmp_path / "here" / "summary.json").read_text())
    assert summary["test_accuracy"] >= 0.97
    assert f"{summary['epochs']} epochs (the default for digits)" in capsys.readouterr().out


def test_numpy_runs_never_import_torch(tmp_path):
    script = (
        "import sys; from training.cli.main import main;"
        "sys.argv = ['train.py', *sys.argv[1:]]; main();"
        "assert 'numpy_models' in sys.modules;"
        "assert not {'torch', 'torch_models', 'torchvision'} & sys.modules.keys()"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, *SHORT, "backend=numpy"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_configuration_is_known_before_numpy_starts():
    script = "import sys, training.cli.main; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)
