"""A sweep that ended early goes on: what is unfinished is finished, what was not begun is begun."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from pathlib import Path

import pytest

from tests.forked import Forked, run, train
from tests.support import ROOT, assert_same_run, signal_at_step

SETTINGS = ("data=digits", "backend=numpy", "backend.threads=1", "trainer.batch_size=32")
SWEEP = ("--multirun", *SETTINGS, "trainer.epochs=2", "experiment=r3_lenet5_avgpool", "seed=0,1,2")
SIDE_BY_SIDE = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
FOLDERS = [f"{number}_lenet5_avgpool_numpy" for number in range(3)]
few = pytest.mark.usefixtures("few_digits", "no_pictures")


@few
def test_a_stopped_sweep_is_finished_by_the_printed_command(
    call_main, tmp_path, monkeypatch, capsys
) -> None:
    assert call_main(*SWEEP, "hydra.sweep.dir=whole") == 0
    with monkeypatch.context() as patch:
        signal_at_step(patch, 10, signal.SIGHUP)  # six steps a job
        assert call_main(*SWEEP, "hydra.sweep.dir=part") == 128 + signal.SIGHUP
    *_, last = capsys.readouterr().err.splitlines()
    what, _, command = last.partition("; resume with: ")
    assert what == "train.py: stopped by SIGHUP in epoch 2 after step 1, all saved"
    assert shlex.split(command) == ["python", "train.py", f"resume={tmp_path / 'part'}"]
    assert [path.name for path in sorted(tmp_path.glob("part/*_numpy"))] == FOLDERS[:2]
    first = (tmp_path / "part" / FOLDERS[0] / "summary.json").stat().st_mtime_ns
    assert call_main("resume=part") == 0
    assert (tmp_path / "part" / FOLDERS[0] / "summary.json").stat().st_mtime_ns == first
    for folder in FOLDERS:
        assert_same_run(tmp_path / "part" / folder, tmp_path / "whole" / folder)
    study = "study.csv"
    assert (tmp_path / "part" / study).read_text() == (tmp_path / "whole" / study).read_text()
    capsys.readouterr()
    assert call_main("resume=part") == 0
    assert "has all its results, nothing is left to do" in capsys.readouterr().out


@few
def test_what_failed_is_tried_again_and_what_diverged_is_not(
    call_main, tmp_path, monkeypatch, capsys
) -> None:
    sweep = ("--multirun", *SETTINGS, "optimizer.lr=1e30,1e-3", "hydra.sweep.dir=all")
    with monkeypatch.context() as patch:
        patch.setattr("training.trainer.pictures.draw", lambda *_: 1 / 0)
        assert call_main(*sweep, "trainer.epochs=1") == 1
    assert "failed jobs: 2" in capsys.readouterr().err
    assert call_main("resume=all") == 0
    said = capsys.readouterr()
    assert said.out.count("job 2 of 2: optimizer.lr=0.001") == 1
    assert "job 1 of 2" not in said.out
    status = [
        json.loads(p.read_text())["status"] for p in sorted(tmp_path.glob("all/*/summary.j*"))
    ]
    assert status == ["diverged", "finished"]
    assert not (tmp_path / "all/1_lenet5_relu_numpy/failure.txt").exists()


@pytest.fixture
def stopped(call_main, few_digits, no_pictures, monkeypatch, tmp_path, capsys) -> Path:
    with monkeypatch.context() as patch:
        signal_at_step(patch, 2, signal.SIGTERM)
        assert call_main(*SWEEP, "hydra.sweep.dir=all") == 143
    capsys.readouterr()
    return tmp_path / "all" / "jobs.json"


def test_mistakes(stopped, call_main, capsys) -> None:
    listed = json.loads(stopped.read_text())
    for settings, words in {
        ("optimizer.lr=0.1",): "optimizer.lr was 0.001 and is 0.1",
        ("seed=1,2", "--multirun"): "resume takes one run or sweep",
        ("hydra.sweep.subdir=a",): "exclude each other",
        ("hydra/launcher=joblib", "hydra.launcher.n_jobs=0"): "n_jobs must be",
    }.items():
        assert call_main("resume=all", *settings) == 2
        assert words in (said := capsys.readouterr().err)
        assert said.count("\n") == 1
    hostile = {
        "not json": "{",
        "deep": '{"format":3,"jobs":' + "[" * 100_000,
        "no jobs": json.dumps({"format": 3, "jobs": []}),
        "a setting of Hydra's": entry(listed, {"hydra": {"run": {"dir": "/tmp/elsewhere"}}}),
        "an environment variable": entry(listed, {"model": {"name": "${oc.env:HOME}"}}),
        "a folder elsewhere": json.dumps(listed).replace(FOLDERS[1], "../elsewhere"),
        "a folder of the root": json.dumps(listed).replace(FOLDERS[1], "/elsewhere"),
    }
    for name, text in hostile.items():
        stopped.write_text(text)
        assert call_main("resume=all") == 2, name
        said = capsys.readouterr().err
        assert said.startswith(f"train.py: resume={stopped.parent}") or str(stopped) in said, name
        assert said.count("\n") == 1, name


def entry(listed: dict, changes: dict) -> str:
    (*_, last) = listed["jobs"]
    return json.dumps({**listed, "jobs": [{**last, "config": {**last["config"], **changes}}]})


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(number) for number in path.read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_side_by_side(number, tmp_path) -> None:
    """A signal to the first process stops all and leaves none; a killed job fails alone."""
    long = [*SWEEP, "trainer.epochs=40", "hydra.sweep.dir=all"]
    started = Forked(tmp_path, train, *long, *SIDE_BY_SIDE, FEW="96:30", FAULT="slow:0:0")
    while len(list(tmp_path.glob("all/*/checkpoint.safetensors"))) < 2:
        assert started.process.is_alive()
        time.sleep(0.05)
    jobs = children(started.process.pid)
    assert len(jobs) == 2
    if number == signal.SIGKILL:
        os.kill(jobs[1], number)
        while not (tmp_path / "all" / FOLDERS[2] / "checkpoint.safetensors").exists():
            time.sleep(0.05)
    started.process.terminate()
    ended = started.end(60)
    assert ended.returncode == 143
    assert not any(Path(f"/proc/{pid}").exists() for pid in jobs)
    lines = [line for line in ended.stderr.splitlines() if line]
    notice = "SIGTERM: saving after this step; repeat to quit at once"
    command = f"python {ROOT / 'train.py'} resume={tmp_path / 'all'} {' '.join(SIDE_BY_SIDE)}"
    end = f"train.py: stopped by SIGTERM, all running jobs are saved; resume with: {command}"
    middle = "train.py: 1 job was not started: seed=2"
    if number == signal.SIGKILL:
        killed = "its process was killed by SIGKILL, as the system does when memory runs out"
        assert lines == [f"train.py: {FOLDERS[1]} failed: {killed}", notice, end]
        return
    assert lines == [notice, middle, end]
    result = run(tmp_path, train, "resume=all", *SIDE_BY_SIDE, FEW="96:30")
    assert (result.returncode, result.stderr) == (0, "")
    assert len(list(tmp_path.glob("all/*/weights.safetensors"))) == 3
