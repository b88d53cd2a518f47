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
from matplotlib import pyplot as plt

from benchmarks import command, pictures
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


def test_places_that_cannot_be_written_are_refused_before_measuring(tmp_path):
    with pytest.raises(BenchmarkError, match="choose another place"):
        command.prepare(Namespace(json=tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchmarkError, match="cannot write"):
        command.prepare(Namespace(json=tmp_path / "file" / "step.json"))


def test_results_are_saved_with_their_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    chosen = Namespace(json=tmp_path / "new" / "step.json")
    record = command.prepare(chosen) | {"versions": {}}
    command.finish(chosen, content(environment=record))
    saved = json.loads(chosen.json.read_text())["environment"]
    assert saved["cores"] == available_cores()
    assert saved["variables"]["OPENBLAS_NUM_THREADS"] == "1"
    assert saved["processor"]
    assert saved["date"]


def test_a_file_is_whole_or_the_old_one(tmp_path, monkeypatch):
    chosen = Namespace(json=tmp_path / "step.json")
    command.finish(chosen, content())
    before = chosen.json.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BenchmarkError, match=r"cannot write .*step\.json: No space left"):
        command.finish(chosen, content(results=[]))
    figure = plt.figure()
    with pytest.raises(BenchmarkError, match=r"cannot write .*step\.svg: No space left"):
        pictures.save(figure, "a note", tmp_path / "step.svg")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == {chosen.json: before}


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="no /proc/stat here")
def test_only_the_work_of_other_processes_disturbs():
    spin = "import time\nwhile time.process_time() < 0.5: pass"
    with command.Disturbance() as others:
        stranger = subprocess.Popen([sys.executable, "-c", spin])
        time.sleep(0.4)  # until it ends, its work is not this process's own
    stranger.wait()
    assert others.cores is not None
    assert others.cores > 0.1
    own = command._own_seconds()
    subprocess.run([sys.executable, "-c", spin], check=True)
    assert command._own_seconds() - own >= 0.45


def test_blas_is_named():
    pool = {"internal_api": "openblas", "version": "0.3", "architecture": "SkylakeX"}
    openmp = {"internal_api": "openmp", "version": None, "architecture": None}
    assert command.blas({"thread_pools": [openmp, pool]}) == "openblas 0.3, SkylakeX kernels"
    assert command.blas({"thread_pools": [openmp]}) == "unknown to threadpoolctl"


def test_a_failed_benchmark_is_one_sentence(capsys):
    def fail():
        raise BenchmarkError("numpy: the loss differs")

    with pytest.raises(SystemExit) as ended:
        command.run("step", fail)
    assert ended.value.code == 1
    assert capsys.readouterr().err == "benchmarks.step: numpy: the loss differs\n"
