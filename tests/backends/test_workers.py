"""Processes of one machine: what they exchange, and what is left when one of them ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.backends import programs
from tests.backends.programs import run_on_cores
from tests.support import ROOT, few_digits
from training.backends import shared_memory, workers
from training.errors import ProcessError

METHODS = multiprocessing.get_all_start_methods()
pytestmark = [
    pytest.mark.parametrize("method", [m for m in ("fork", "spawn") if m in METHODS]),
    # The tests' own process has threads; none of them holds a lock that the children need.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _start_method(method, monkeypatch) -> None:
    monkeypatch.setattr(workers, "start_method", lambda: method)


@pytest.mark.parametrize("world", [2, 3])
def test_exchanges(world):
    run_on_cores(programs.exchange_everything, few_digits(), world)
    assert not multiprocessing.active_children()


def test_arrays_longer_than_a_slot(method, monkeypatch):
    if method == "spawn":
        pytest.skip("a spawned process has the module's own value")
    monkeypatch.setattr(shared_memory, "SLOT", 64)
    run_on_cores(programs.exchange_everything, few_digits(), 3)


def test_no_rank_reads_what_another_has_already_overwritten():
    sums = run_on_cores(programs.sums_at_random_moments, few_digits(), 3)
    assert sums == [6.0 * number for number in range(len(sums))]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("raise", "rank 2 of the 3 processes: ValueError: the fault$"),
        ("kill", "rank 2 of the 3 processes: it was killed by SIGKILL$"),
        ("leave", "rank 2 of the 3 processes: it ended with status 0$"),
    ],
)
def test_a_rank_that_ends_ends_the_others(kind, words):
    with pytest.raises(ProcessError, match=words) as caught:
        run_on_cores(partial(programs.fail, kind=kind, rank=2), few_digits(), 3)
    if kind == "raise":  # for whoever looks for the defect
        assert "in fail" in str(caught.value.__cause__)
    assert not multiprocessing.active_children()


def test_a_failing_first_rank_ends_the_others():
    with pytest.raises(ValueError, match="the fault"):
        run_on_cores(partial(programs.fail, kind="raise", rank=0), few_digits(), 3)
    assert not multiprocessing.active_children()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes through /proc")
@pytest.mark.parametrize("victim", [0, 1])
def test_kill_9_leaves_nothing_behind(method, victim):
    command = [sys.executable, "-m", "tests.backends.programs", method, "3"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 3
        named = _shared_blocks(pids[0])
        os.kill(pids[victim], signal.SIGKILL)
        status = process.wait(30)
    assert status == (-signal.SIGKILL if victim == 0 else 1)
    assert _becomes_true(lambda: not any(map(_alive, pids)))
    # multiprocessing's own tracker removes a spawned process's semaphores when all have ended.
    assert _becomes_true(lambda: not any(path.exists() for path in named))
    assert method == "spawn" or not named


def _shared_blocks(pid: int) -> list[Path]:
    """The named blocks of shared memory that a process has."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return [Path(line.split()[5]) for line in lines if "/dev/shm/" in line and ")" not in line]


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # whoever inherits a dead process takes its time to notice


def _becomes_true(condition) -> bool:
    until = time.monotonic() + 20
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()
