"""A class's submissions: right ones, wrong ones, and those that would rather not be judged."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from parity.__main__ import main

HERE = Path(__file__).parent
AGAINST = ["--against", "assignments:linear"]

RIGHT = """
import numpy as np


class Linear:
    def __init__(self, inputs, outputs):
        self.w = np.zeros((outputs, inputs), np.float32)
        self.b = np.zeros(outputs, np.float32)

    def forward(self, x):
        self.x = x
        return x @ self.w.T + self.b

    def backward(self, dy):
        self.dw, self.db = dy.T @ self.x, dy.sum(axis=0)
        return dy @ self.w

    def parameters(self):
        return {"weight": self.w, "bias": self.b}

    def gradients(self):
        return {"weight": self.dw, "bias": self.db}

    def buffers(self):
        return {}
"""
# Writes answers wherever it can, before it is asked.
FORGER = """
import os

for number in range(3, 20):
    try:
        os.write(number, b'%s\\n' * 99)
    except OSError:
        pass
"""
FORWARD, BACKWARD = "        self.x = x\n", "        self.dw, self.db ="

# What each student handed in, the points for training and evaluation together, and the culprit.
CLASS = {
    "right": (RIGHT, 8, ""),
    "wrong": (RIGHT.replace("dy.sum(axis=0)", "dy.mean(axis=0)"), 6, "gradient of bias at ["),
    "copies": (RIGHT.replace('"weight": self.w,', '"weight": self.w * 1,'), 0, "did not keep"),
    "raises_at_import": (
        "1 / 0",
        0,
        "importing it raised ZeroDivisionError at raises_at_import.py:1",
    ),
    "raises_in_backward": (
        RIGHT.replace(BACKWARD, f"        raise IndexError('seven')\n{BACKWARD}"),
        2,
        "Linear.backward raised IndexError at raises_in_backward.py:15: seven",
    ),
    "leaves_at_import": ("raise SystemExit(0)", 0, "importing it raised SystemExit"),
    "prints": (RIGHT.replace(FORWARD, f"{FORWARD}        print('x' * 10**6)\n"), 8, ""),
    "eats": (RIGHT.replace(FORWARD, "        self.x = np.ones(10**9)\n"), 0, "raised MemoryError"),
    "exits_at_import": ("import os; os._exit(0)", 0, "its process ended before it answered"),
    "exits": (
        RIGHT.replace(BACKWARD, f"        import os; os._exit(0)\n{BACKWARD}"),
        0,
        "its process ended before it answered",
    ),
    "claims": (
        "print('{\"score\": 8, \"tests\": []}')\nopen('results.json', 'w').write('{\"score\": 8}')",
        0,
        "solution has no Linear",
    ),
    "patches": (
        "import parity.tolerance\n"
        f"parity.tolerance.TensorCheck.passed = True\n{RIGHT.replace('dy @ self.w', '0 * self.x')}",
        6,
        "gradient of input at [",
    ),
    "borrows": ("from torch import nn", 0, "importing it raised ModuleNotFoundError"),
    "forges": (FORGER % '{"value": 8}', 0, "judging it raised AttributeError"),
    "babbles": (FORGER % "8", 0, "its process gave an invalid answer"),
    "escapes": ("raise ValueError('\\x1b[2J red \\x07')", 0, "\x1b[2J red"),
}


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.chdir(tmp_path)


def test_every_submission_gets_its_row(capsys) -> None:
    Path("class", "folder").mkdir(parents=True)
    Path("class", "folder", "helper.py").write_text(RIGHT)
    Path("class", "folder", "solution.py").write_text("from helper import Linear")
    Path("class", "empty").mkdir()
    Path("class", "notes.txt").write_text("no submission")
    for student, (text, _, _) in CLASS.items():
        Path("class", f"{student}.py").write_text(text)
    before = sorted(Path("class").rglob("*"))
    assert main(["grade", "class", *AGAINST, "--memory", "2048"]) == 0
    shown = capsys.readouterr().out
    assert "This is not a sandbox" in shown
    assert max(map(len, shown.splitlines())) <= 100
    assert "\x1b" not in shown
    with Path("grades/grades.csv").open(newline="") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {*CLASS, "folder", "empty"}
    others = {"folder": ("", 8, ""), "empty": ("", 0, "there is no solution.py")}
    for student, (_, points, culprit) in {**CLASS, **others}.items():
        row = rows[student]
        assert (student, float(row["points"])) == (student, points)
        assert culprit in row["first culprit"], student
        assert bool(row["first culprit"]) == (points < 8)
        assert float(row["training mode, output"]) == (points > 0)
        assert f"{student:<18}" in shown
        score = json.loads(Path("grades", student, "results.json").read_text())["score"]
        assert score == points
    assert rows["wrong"]["evaluation mode, gradient of bias"] == "0.0"
    assert rows["wrong"]["reproduction"] == "grades/wrong/reproduction.npz"
    assert main(["replay", rows["wrong"]["reproduction"]]) == 1
    assert "Linear, gradient of bias: worst at" in capsys.readouterr().out
    assert sorted(Path("class").rglob("*")) == before


def test_a_submission_that_does_not_end_is_ended(capsys) -> None:
    Path("class").mkdir()
    Path("class/hangs.py").write_text(RIGHT.replace(FORWARD, "        while True: pass\n"))
    Path("class/sleeps.py").write_text("import time; time.sleep(1e6)")
    assert main(["grade", "class", *AGAINST, "--seconds", "1"]) == 0
    shown = capsys.readouterr().out
    for student in ("hangs ", "sleeps"):
        assert f"{student}     0/2       0  it took longer than 1 s\n" in shown


def test_one_folder_is_one_submission_in_gradescopes_form(capsys) -> None:
    Path("submission").mkdir()
    Path("submission/solution.py").write_text(CLASS["wrong"][0])
    words = ["grade", "submission", *AGAINST, "--points", "4"]
    assert main([*words, "--output", "results"]) == 0
    found = json.loads(Path("results/results.json").read_text())
    culprit = found["tests"][0]["output"].partition("wrong: ")[2]
    assert found.keys() == {"score", "output", "execution_time", "tests"}
    assert (found["score"], found["output"]) == (3, culprit)
    assert found["tests"][1] == {
        "name": "evaluation mode",
        "score": 1.5,
        "max_score": 2,
        "status": "failed",
        "output": "right: output\nright: gradient of input\nright: gradient of weight\n"
        f"wrong: {culprit}",
    }
    # Nothing is replaced unless that is asked for.
    Path("submission/solution.py").write_text(RIGHT)
    capsys.readouterr()
    assert main([*words, "--output", "results"]) == 2
    assert (
        "results is not empty: name another --output, or add --overwrite" in capsys.readouterr().err
    )
    assert json.loads(Path("results/results.json").read_text()) == found
    assert main([*words, "--output", "results", "--overwrite"]) == 0
    found = json.loads(Path("results/results.json").read_text())
    assert (found["score"], found["output"]) == (4, "everything agrees with torch")
    assert all(test["status"] == "passed" for test in found["tests"])
    assert not Path("results/reproduction.npz").exists()


def test_a_backward_that_is_not_there_gives_no_points() -> None:
    Path("class").mkdir()
    Path("class/ann.py").write_text(RIGHT.replace("def backward", "def backwards"))
    assert main(["grade", "class", *AGAINST]) == 0
    found = json.loads(Path("grades/ann/results.json").read_text())
    assert found["score"] <= 2  # of 8, for the output in both modes
    assert "backward" in found["output"] or "was not judged" in found["output"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["class", "--against", "assignments:linear"], "class has no submission"),
        (["double", "--against", "assignments:linear"], "two submissions called ann"),
        (["double/ann", "--against", "assignments"], "'assignments' names no factory"),
        (["double/ann", "--against", "assignments:lineal"], "lineal is not in assignments"),
        (["double/ann", "--against", "unwritten:linear"], "there is no module unwritten"),
        (["double/ann", "--against", "assignments:failing"], "raised OSError: no such weights"),
        (["double/ann", "--against", "assignments:number"], "number is not callable"),
        (["double/ann", *AGAINST, "--seconds", "inf"], "--seconds, --memory and --points must"),
        (["double/ann", *AGAINST, "--output", "double/ann.py"], "double/ann.py is not empty"),
    ],
)
def test_a_teachers_mistake_is_one_sentence_and_status_2(words, sentence, capsys) -> None:
    Path("double/ann").mkdir(parents=True)
    Path("double/ann.py").write_text(RIGHT)
    Path("double/ann/solution.py").write_text(RIGHT)
    assert main(["grade", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert sentence in err
    assert not Path("grades").exists()


def test_a_system_without_limits_says_so(monkeypatch, capsys) -> None:
    Path("lacking").mkdir()
    Path("lacking/resource.py").write_text("raise ImportError('no resource module')")
    monkeypatch.syspath_prepend("lacking")
    Path("solution.py").write_text(RIGHT)
    assert main(["grade", ".", *AGAINST]) == 0
    shown = capsys.readouterr().out
    assert "memory was not limited, because this system cannot: no resource module\n" in shown


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to one process")
def test_ctrl_c_ends_the_submission(tmp_path) -> None:
    pids = tmp_path / "pids"
    Path("ann.py").write_text(
        "import os, subprocess, sys, time\n"
        "other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pids)!r} + '~', 'w').write(f'{{os.getpid()}} {{other.pid}}')\n"
        f"os.rename({str(pids)!r} + '~', {str(pids)!r})\n"
        "time.sleep(600)\n"
    )
    search = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    grading = subprocess.Popen(
        [sys.executable, "-m", "parity", "grade", ".", *AGAINST],
        env=os.environ | {"PYTHONPATH": search},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    wait(lambda: pids.exists() or grading.poll() is not None)
    grading.send_signal(signal.SIGINT)
    _, err = grading.communicate(timeout=60)
    assert grading.returncode == 130, err
    assert err == "parity: interrupted, no file is left half-written\n"
    wait(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))


def wait(ready) -> None:
    """Wait until something is so, a minute at most."""
    end = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody waits for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
