"""Attack this checkout as accidents and strangers do: `python -m tests.faults.attack [WORD ...]`.

Every attack, or those whose names have one of the words, runs real commands in an empty folder. A
refusal is one line on standard error that says what is wrong, with status 2; no file of the user's
is changed, and no process is left behind.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tests.parity.test_hostile_files import HOSTILE
from tests.storage.forgery import forged
from tests.support import ROOT, assert_same_run
from training.storage.checkpoint import NAME, load_checkpoint

TRAIN = (sys.executable, str(ROOT / "train.py"))
QUICK = ("data=digits", "backend=numpy", "backend.threads=1", "trainer.batch_size=256")
SWEEP = (*QUICK, "--multirun", "seed=0,1,2", "hydra.sweep.dir=all", "trainer.epochs=12")
SIDE_BY_SIDE = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
FLIPS = 8

Attack = Callable[[Path], None]
ATTACKS: dict[str, Attack] = {}


def attack(name: str) -> Callable[[Attack], Attack]:
    """Add an attack on a folder."""

    def add(function: Attack) -> Attack:
        ATTACKS[name] = function
        return function

    return add


def run(cwd: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = arguments if arguments[0] == sys.executable else (*TRAIN, *arguments)
    return subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
        check=False,
    )


def works(cwd: Path, *arguments: str, **environment: str) -> str:
    result = run(cwd, *arguments, **environment)
    assert result.returncode == 0, (arguments, result.stderr)
    return result.stdout


def refused(cwd: Path, words: str, *arguments: str, **environment: str) -> None:
    before = {path: path.read_bytes() for path in cwd.rglob("*") if path.is_file()}
    result = run(cwd, *arguments, **environment)
    assert result.returncode == 2, (arguments, result.returncode, result.stderr)
    assert result.stderr.count("\n") == 1, (arguments, result.stderr)
    assert re.search(words, result.stderr), (arguments, result.stderr)
    assert before == {path: path.read_bytes() for path in cwd.rglob("*") if path.is_file()}


@attack("folders: nobody's files are written over")
def folders(cwd: Path) -> None:
    (cwd / "mine").mkdir()
    for name in ("config.yaml", "metrics.csv", "weights.safetensors"):
        (cwd / "mine" / name).write_text("a user's own")
    refused(cwd, "mine is not empty", *QUICK, "hydra.run.dir=mine")
    refused(cwd, "is not empty", *QUICK, "hydra.run.dir=.")
    refused(cwd, r"hydra\.run\.dir is empty", *QUICK, "hydra.run.dir=")
    refused(cwd, "several jobs", *QUICK, "--multirun", "seed=0,1", "hydra.sweep.subdir=same")
    works(cwd, *QUICK, "trainer.epochs=1", "hydra.run.dir=run")
    refused(cwd, "already holds a run", *QUICK, "hydra.run.dir=run")
    assert not (cwd / "run_2").exists()


@attack("names: a group's name is no setting")
def names(cwd: Path) -> None:
    refused(cwd, "write optimizer=sgd", "optimizer.name=sgd")
    refused(cwd, "write backend=numpy", "backend.name=numpy")
    refused(cwd, "write backend=torch", "backend=numpy", "backend.name=torch")


@contextmanager
def sweeping(cwd: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen, list[int]]]:
    """Give a sweep of which two jobs have been saved, and the ids of its processes."""
    with subprocess.Popen(
        [*TRAIN, *SWEEP, *arguments],
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wanted = 2 if arguments else 1
        while len(list(cwd.glob(f"all/*/{NAME}"))) < wanted:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield process, [int(child) for child in children]


@attack("sweeps: stopped and killed, in turn and side by side, and resumed to the same end")
def sweeps(cwd: Path) -> None:
    whole = cwd / "whole"
    works(cwd, *SWEEP, f"hydra.sweep.dir={whole}")
    for name, mode in {"in turn": (), "side by side": SIDE_BY_SIDE}.items():
        place = cwd / name
        place.mkdir()
        with sweeping(place, *mode) as (process, jobs):
            if jobs:
                os.kill(jobs[0], signal.SIGKILL)
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=60)[1]
        assert process.returncode == 143, said
        assert f"resume={place / 'all'}" in said or f"resume='{place / 'all'}'" in said, said
        assert "Traceback" not in said
        assert not [job for job in jobs if Path(f"/proc/{job}").exists()]
        works(place, "resume=all", *mode)
        for job in whole.glob("*_numpy"):
            assert_same_run(place / "all" / job.name, job)


@attack("settings: what could not be resumed is refused at the start")
def settings(cwd: Path) -> None:
    refused(cwd, "one line", *QUICK, "study.title='a\tb'")
    refused(cwd, "one line", *QUICK, f"study.title={'x' * 501}")
    refused(cwd, "one line", *QUICK, "study.title='\\${oc.env:HOME}'")
    refused(cwd, "checkpoint_every", *QUICK, "trainer.checkpoint_every='1\tepoch'")
    refused(cwd, "could not be resumed", *QUICK, "trainer.epochs=9000000", "hydra.run.dir=run")
    assert not (cwd / "run").exists()


@attack("tables: damaged rows are written anew")
def tables(cwd: Path) -> None:
    often = ("trainer.log_every=1", "trainer.evaluation_samples=5", "trainer.epochs=2")
    works(cwd, *QUICK, *often, "hydra.run.dir=run")
    path = cwd / "run" / "steps.csv"
    whole = path.read_text()
    head, *rows = whole.splitlines(keepends=True)
    swapped = [rows[1], rows[0], *rows[2:]]
    nan = [re.sub(",.*", ",nan,1", rows[0]), *rows[1:]]
    for epochs, damaged in enumerate((rows[1:], swapped, [rows[0], *rows], nan, rows[:-1]), 3):
        path.write_text(head + "".join(damaged))
        works(cwd, "resume=run", f"trainer.epochs={epochs}")
        assert path.read_text().startswith(whole)
        whole = path.read_text()


@attack("checkpoints: forged, cut and flipped")
def checkpoints(cwd: Path) -> None:
    works(cwd, *QUICK, "trainer.epochs=1", "hydra.run.dir=run")
    path = cwd / "run" / NAME
    whole, checkpoint = path.read_bytes(), load_checkpoint(path)
    state, record = checkpoint.state, checkpoint.record
    for name, value in {
        "model.out.bias": np.nan,
        "optimizer.exp_avg.out.bias": np.inf,
        "optimizer.exp_avg_sq.out.bias": -1.0,
        "optimizer.lr": 1e30,
    }.items():
        arrays = {key: np.array(array) for key, array in state.items()}
        arrays[name][...] = value
        path.write_bytes(forged(record, arrays))
        refused(cwd, "resume=|cannot be resumed", "resume=run", "trainer.epochs=2")
    chosen = random.Random(0)
    for _ in range(FLIPS):
        damaged = bytearray(whole)
        damaged[chosen.randrange(len(whole))] ^= 1 << chosen.randrange(8)
        path.write_bytes(damaged[: chosen.choice([len(whole), len(whole) // 2])])
        refused(cwd, "damaged", "resume=run", "trainer.epochs=2")
    path.write_bytes(whole)
    works(cwd, "resume=run", "trainer.epochs=2")


@attack("tracebacks: a sentence for odd settings, encodings, streams and folders")
def tracebacks(cwd: Path) -> None:
    refused(cwd, "there is no setting", f"+model.arguments.{'a' * 300}=1")
    refused(cwd, "n_jobs must be", *SWEEP, "hydra/launcher=joblib", "hydra.launcher.n_jobs=0")
    for setting in ("seed=é", "=", "seed=${seed}", "hydra.mode=X"):
        refused(cwd, setting.partition("=")[0] or "key=value", setting)
    refused(cwd, "lr_decay", "experiment=r2_deepcnn21", "optimizer=adam", "optimizer.lr_decay=1")
    refused(cwd, "there is no checkpoint", "resume=.")
    for number, environment in enumerate(
        ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"})
    ):
        works(cwd, *QUICK, "trainer.epochs=1", f"hydra.run.dir=encoding{number}", **environment)
    short = " ".join([*TRAIN, *QUICK, "trainer.epochs=1"])
    for closed in (">&-", "2>&-"):
        shell = f"{short} hydra.run.dir=closed{closed[0]} {closed}"
        result = subprocess.run(shell, shell=True, cwd=cwd, capture_output=True, check=False)
        assert b"Traceback" not in result.stderr, result.stderr
    gone = f"mkdir gone && cd gone && rmdir ../gone && {short}"
    result = subprocess.run(gone, shell=True, cwd=cwd, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1), result.stderr


@attack("reproductions: damaged and hostile files for parity replay")
def reproductions(cwd: Path) -> None:
    parity = (sys.executable, "-m", "parity")
    path = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "parity")])}
    assert run(cwd, *parity, "check", "factories:wrong", "--save", "a.npz", **path).returncode == 1
    whole, chosen = (cwd / "a.npz").read_bytes(), random.Random(0)
    hostile = [forge(whole) for forge in HOSTILE.values()]
    flipped = []
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[chosen.randrange(len(whole))] ^= 1 << chosen.randrange(8)
        flipped.append(bytes(damaged))
    for number, content in enumerate([*hostile, *flipped]):
        (cwd / f"{number}.npz").write_bytes(content)
    # One process for all: importing torch takes longer than a replay.
    files = [f"{number}.npz" for number in range(len([*hostile, *flipped]))]
    script = "from parity.__main__ import main; print([main(['replay', f]) for f in FILES])"
    script = script.replace("FILES", repr(files))
    result = run(cwd, sys.executable, "-c", script, **path)
    assert result.returncode == 0, result.stderr
    statuses = json.loads(result.stdout.splitlines()[-1])
    assert set(statuses[: len(hostile)]) == {2}, dict(zip(HOSTILE, statuses, strict=False))
    assert result.stderr.count("\n") == statuses.count(2), result.stderr
    refused(cwd, "is not a reproduction", *parity, "replay", "/dev/zero")


def main(words: list[str]) -> int:
    failed = 0
    for name, function in ATTACKS.items():
        if words and not any(word in name for word in words):
            continue
        started = time.perf_counter()
        with TemporaryDirectory() as folder:
            try:
                function(Path(folder).resolve())
                verdict = "held"
            except AssertionError as error:
                verdict, failed = f"FAILED: {error}", failed + 1
        print(f"{name}: {verdict} ({time.perf_counter() - started:.0f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
