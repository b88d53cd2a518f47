from __future__ import annotations

import argparse
import errno
import json
import os
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks import command
from benchmarks.harness import BenchmarkError
from tests.benchmarks.samples import content
from training.environment import available_cores


def test_threads():
    assert command.threads("all") == available_cores()
    assert command.threads("1") == 1
    with pytest.raises(argparse.ArgumentTypeError, match="give fewer, or all"):
        command.threads(str(available_cores() + 1))
    with pytest.raises(argparse.ArgumentTypeError, match="whole number of at least 1, not 0"):
        command.threads("0")


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "inf"])
def test_seconds_must_be_a_positive_number(text):
    with pytest.raises(argparse.ArgumentTypeError, match="above 0"):
        command.positive_seconds(text)


def measured(path: Path | None) -> None:
    """Measure nothing, as content that one has made up."""
    with command.measurement("step", Namespace(json=path), "numpy") as found:
        found["results"] = content()["results"]


def test_places_that_cannot_be_written_are_refused_before_measuring(tmp_path):
    with pytest.raises(BenchmarkError, match="choose another place"):
        measured(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchmarkError, match="cannot write"):
        measured(tmp_path / "file" / "step.json")


def test_results_are_saved_with_their_environment(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    path = tmp_path / "new" / "step.json"
    measured(path)
    assert "| `lenet5_relu` (256) " in capsys.readouterr().out
    saved = json.loads(path.read_text())["environment"]
    assert saved["cores"] == available_cores()
    assert saved["variables"]["OPENBLAS_NUM_THREADS"] == "1"
    assert saved["versions"]["numpy"]
    assert saved["processor"]
    assert saved["date"]


def test_a_file_is_whole_or_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "step.json"
    measured(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BenchmarkError, match=r"cannot write .*step\.json: No space left"):
        measured(path)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == {path: before}


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="no /proc/stat here")
def test_only_the_work_of_other_processes_disturbs():
    spin = "import time\nwhile time.process_time() < 0.5: pass"
    with command.measurement("step", Namespace(json=None)) as found:
        found["results"] = []
        stranger = subprocess.Popen([sys.executable, "-c", spin])
        time.sleep(0.4)  # until it ends, its work is not this process's own
    stranger.wait()
    assert found["environment"]["cores_used_by_others"] > 0.1
    own = command._own_seconds()
    subprocess.run([sys.executable, "-c", spin], check=True)
    assert command._own_seconds() - own >= 0.45


def test_a_failed_benchmark_is_one_sentence(capsys):
    def fail():
        raise BenchmarkError("numpy: the loss differs")

    with pytest.raises(SystemExit) as ended:
        command.run("step", fail)
    assert ended.value.code == 1
    assert capsys.readouterr().err == "benchmarks.step: numpy: the loss differs\n"
