"""A user's mistake: one line that names it, status 2, nothing written."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

import training.cli.sweeps
import training.trainer.trainer
from tests.support import ROOT, train_py

#: Of commands in processes of their own: without data none of them trains, whatever is let pass.
WITHOUT_DATA = ("data=mnist", "data.root=/nowhere", "data.download=false")

CASES = {
    "epohcs=3": r"epohcs.*did you mean trainer\.epochs",
    "trainer.epohcs=3": r"trainer\.epohcs.*did you mean trainer\.epochs",
    "lr=0.1": r"\blr\b.*did you mean optimizer\.lr",
    "optimizer.momentum=0.9": (
        r"no setting optimizer\.momentum with optimizer=adam: it belongs to optimizer=sgd$"
    ),
    "init.linear_std=0.1": r"init\.linear_std with init=torch: it belongs to init=normal$",
    "model.arguments.depth=5": r"model\.arguments\.depth with model=lenet5_relu.*model=deepcnn21",
    "modell=lenet5_bn": r"modell.*did you mean model\b",
    "model=lenet": r"model=lenet.*lenet5_relu.*did you mean lenet5",
    "model.arguments.tie=all": r"model\.arguments\.tie .*did you mean model\.arguments\.ties",
    "+model.arguments.tie=all": r"model\.arguments\.tie.*accepts ties.*did you mean ties",
    "model.arguments.ties=some": r"model\.arguments\.ties must be one of first, all, not 'some'",
    "model.name=lenet6": r"lenet6",
    "model.image_size=64": r"model\.image_size=64.*lenet5_relu",
    "trainer=3": r"trainer is a group.*trainer\.epochs",
    "trainer.epochs=abc": r"trainer\.epochs must be a whole number, not abc",
    "trainer.epochs=1.5": r"trainer\.epochs must be a whole number",
    "trainer.epochs=0": r"trainer\.epochs must be at least 1, not 0",
    "trainer.epochs=-1": r"trainer\.epochs must be at least 1, not -1",
    "trainer.epochs": r"trainer\.epochs.*key=value",
    "trainer.epochs=[1": r"trainer\.epochs",
    "trainer.batch_size=null": r"trainer\.batch_size needs a value",
    "optimizer.lr=nan": r"optimizer\.lr must be a finite number",
    "optimizer.lr=inf": r"optimizer\.lr must be a finite number",
    "optimizer.lr=0": r"optimizer\.lr must be above 0",
    "optimizer.lr=fast": r"optimizer\.lr must be a number",
    "optimizer.betas=[0.9]": r"optimizer\.betas must be two numbers",
    "optimizer.betas=[0.9,1.0]": r"optimizer\.betas must be two numbers",
    "optimizer.betas=0.9": r"optimizer\.betas must be two numbers.* below 1, not 0\.9$",
    "optimizer.betas=[a,b]": r"optimizer\.betas must be two numbers.* below 1, not \[a,b\]$",
    "optimizer.eps_mode=root": r"optimizer\.eps_mode.*inside_root",
    "backend=jax": r"backend=jax.*numpy, torch",
    "backend.threads=0": r"backend\.threads must be at least 1",
    "device=gpu": r"device.*auto, cpu, cuda.*did you mean cuda",
    "data=minst": r"data=minst.*did you mean mnist",
    "data.flip=1.5": r"data\.flip must be at least 0 and at most 1",
    "data.rotation=190": r"data\.rotation must be at least 0 and at most 180",
    "data.validation=-1": r"data\.validation must be at least 0",
    "data.scaling=none": r"data\.scaling.*unit, standard, raw",
    "data.sampling=all": r"data\.sampling.*shuffle, replacement",
    "seed=-1": r"seed must be at least 0",
    "seed=1,2": r"--multirun",
    "scheduler.step_size=0": r"scheduler\.step_size must be at least 1",
    "scheduler.gamma=0.5": r"scheduler\.gamma needs scheduler=step",
    "scheduler.gamma=0": r"scheduler\.gamma must be above 0",
    "init=zero": r"init=zero.*xavier",
    "experiment=r9": r"experiment=r9",
    "trainer.epochs=${nowhere}": r"nowhere",
    "~model": r"\bmodel\b",
    "--epochs=3": r"--epochs.*did you mean trainer\.epochs",
    "--config-name=other": r"other",
    "--config-dir=nowhere": r"nowhere",
    "optimizer.name=sgd": r"optimizer\.name is not a setting: write optimizer=sgd$",
    "++backend.name=numpy": r"backend\.name is not a setting: write backend=numpy$",
    "hydra.launcher=joblib": r"hydra\.launcher is not a setting: write hydra/launcher=joblib$",
    "hydra.mode=X": r"hydra\.mode .*RUN, MULTIRUN",
    "seed=é": r"seed=é.*\"seed='\.\.\.'\"",
    "seed=${seed}": r"seed: .*interpolation",
    "=": r"key=value",
    f"+model.arguments.{'a' * 300}=1": r"there is no setting model\.arguments\.a+\.\.\.$",
    "study.title='a\tb'": r"study\.title must be one line",
    "study.title='\\${seed}'": r"study\.title must be one line",
    "trainer.checkpoint_every='1\tepoch'": r"trainer\.checkpoint_every must be a whole number",
}


@pytest.fixture(autouse=True)
def _no_training(monkeypatch):
    """Whatever is not refused fails at once, in this process and before a job gets its own."""

    def start(*_):
        raise AssertionError("a training starts")

    monkeypatch.setattr(training.trainer.trainer.Trainer, "fit", start)
    monkeypatch.setattr(training.cli.sweeps, "run_side_by_side", start)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    output = capsys.readouterr().err
    assert output.startswith("train.py: ")
    assert output.count("\n") == 1, output
    return output


@pytest.mark.usefixtures("few_digits")
@pytest.mark.parametrize("argument", CASES)
def test_one_line_and_nothing_written(argument, call_main, capsys, tmp_path):
    assert call_main(argument) == 2
    assert re.search(CASES[argument], one_line(capsys))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (
            ("backend=numpy", "backend.precision=bf16"),
            r"backend=numpy: it belongs to backend=torch$",
        ),
        (("--multirun", "scheduler.gamma=0.1,0.5", "seed=0,1"), r"gamma needs scheduler=step"),
        (("backend=numpy", "device=cuda"), r"device=cuda needs backend=torch"),
        (("optimizer=sgd", "optimizer.nesterov=true", "optimizer.momentum=0"), r"nesterov"),
        (("data=digits", "data.sampling=replacement", "trainer.batch_size=2000"), r"2000.*1437"),
        (("--multirun", "seed=1,2", "optimizer.lr=0.1,-1"), r"optimizer\.lr must be above 0"),
        (("--multirun", "model=lenet5_bn,lenet6"), r"model=lenet6"),
        (("--multirun", "seed=range(1,3)", "trainer.epochs=1,x"), r"trainer\.epochs must be a"),
        (("--cfg", "job", "epohcs=3"), r"trainer\.epochs"),
        (("--help", "epohcs=3"), r"trainer\.epochs"),
        (("--cfg", "job", "--multirun"), r"--multirun/-m: not allowed with argument --cfg"),
        (("--resolve",), r"--resolve works only with --cfg or --help"),
        (("--cfg", "nonsense"), r"nonsense"),
        (("--multirun", "backend.name=torch,numpy"), r"write backend=torch,numpy$"),
        (("--multirun", "hydra.run.dir=a,b"), r"hydra\.run\.dir=a,b.*cannot be swept"),
        (("data=digits", "hydra.run.dir=/proc/none/run"), r"/proc/none/run"),
    ],
)
def test_combinations(arguments, pattern, call_main, capsys, tmp_path):
    assert call_main(*arguments) == 2
    assert re.search(pattern, one_line(capsys))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("launcher", "file", "extra"),
    [
        ("slurm", "submitit_slurm", "cluster"),
        ("submitit_local", "submitit_local", "cluster"),
    ],
)
def test_a_launcher_that_is_not_installed(launcher, file, extra, call_main, capsys, monkeypatch):
    Plugins.instance()  # which has the launchers that are installed make themselves known
    launchers = ConfigStore.instance().repo["hydra"]["launcher"]
    monkeypatch.delitem(launchers, f"{file}.yaml", raising=False)
    assert call_main("--multirun", "seed=1,2", f"hydra/launcher={launcher}") == 2
    expected = f"hydra/launcher={launcher} needs pip install 'lenet-twins[{extra}]'"
    assert expected in one_line(capsys)


def test_a_cluster_that_is_not_there(call_main, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    slurm = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
    assert call_main("--multirun", "seed=1,2", f"hydra.launcher._target_={slurm}") == 2
    assert re.search("srun.*hydra/launcher=submitit_local", one_line(capsys))
    assert list(tmp_path.iterdir()) == []


def test_no_job_at_once(call_main, capsys, tmp_path):
    joblib = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=0")
    assert call_main("--multirun", "seed=1,2", *joblib) == 2
    assert "hydra.launcher.n_jobs must be" in one_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_working_folder_that_is_gone(tmp_path):
    script = "import os, sys; os.rmdir(os.getcwd()); import training.cli.main as m; m.main()"
    result = subprocess.run(
        [sys.executable, "-c", script, *WITHOUT_DATA],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr.count("\n")) == (2, 1), result.stderr
    assert "is gone" in result.stderr


def test_missing_data(call_main, capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("MNIST_ROOT", raising=False)
    root = tmp_path / "nowhere"
    assert call_main("data=mnist", f"data.root={root}", "data.download=false") == 2
    assert str(root) in one_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_cuda_without_a_device(call_main, capsys, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert call_main("data=digits", "device=cuda") == 2
    assert "device=cuda" in one_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_defect_keeps_its_traceback(call_main, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(training.trainer.trainer.Trainer, "fit", broken)
    with pytest.raises(ZeroDivisionError, match="a defect"):
        call_main("data=digits", "backend=numpy", "trainer.epochs=1")


def test_the_real_command(tmp_path):
    result = train_py(*WITHOUT_DATA, "epohcs=3", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr == (
        "train.py: there is no setting epohcs (did you mean trainer.epochs?)\n"
    )
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []
