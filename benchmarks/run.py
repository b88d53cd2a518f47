"""A whole training run, `train.py` in a process of its own: an epoch's time and the peak memory.

An epoch is timed with everything (batches, steps, evaluation, log, checkpoint) from one line of
output to the next, which leaves out the start and the pictures at the end. The peak is that of all
the run's processes together, a page that they share counted once; Linux is asked ten times a
second. For one process the system's own account is taken where it is larger. NumPy has a process
for each core where that pays, as it is by default.

    python -m benchmarks.run --data mnist --json run.json
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Event, Thread
from time import perf_counter
from typing import NamedTuple

from benchmarks import command
from benchmarks.cases import CASES
from benchmarks.harness import ROOT, BenchmarkError, interleaved, samples

SIDES = ("numpy", "torch")
MEBIBYTE = 2**20
#: Seconds between looks at the memory.
INTERVAL = 0.1


class Run(NamedTuple):
    """Seconds of an epoch, nan where fewer than two were told of, and the peak in MiB."""

    seconds: float
    peak: float


def main() -> None:
    """Measure and report as the command line says."""
    parser = command.parser("run", __doc__, rounds=3)
    parser.add_argument("--data", choices=("digits", "mnist"), default="digits")
    parser.add_argument("--epochs", type=command.positive, default=3, metavar="N")
    parser.add_argument("--networks", nargs="+", choices=CASES, default=list(CASES), metavar="NAME")
    options = parser.parse_args()
    if not hasattr(os, "wait4"):
        raise BenchmarkError("this operating system does not report a process's peak memory")
    if options.epochs < 2:
        raise BenchmarkError("--epochs 1: the first epoch is not timed, give at least 2")
    settings = {name: getattr(options, name) for name in ("data", "epochs", "rounds")}
    settings["numpy"] = "a process per core"
    with command.measurement("run", options, *SIDES, **settings) as content:
        content["imports"] = {
            name: watch(["-c", f"import training.trainer.trainer, training.backends.{name}"]).peak
            for name in SIDES
        }
        content["results"] = []
        for network in options.networks:
            command.announce(f"{network} on {options.data}")
            given = options.data, options.epochs
            trainings = {side: partial(train, network, side, *given) for side in SIDES}
            runs = interleaved(trainings, options.rounds)
            result = {"network": network, "batch": CASES[network].batch}
            result["seconds"] = samples({side: [r.seconds for r in runs[side]] for side in SIDES})
            result["peaks"] = samples({side: [r.peak for r in runs[side]] for side in SIDES})
            content["results"].append(result)


def train(network: str, side: str, data: str, epochs: int) -> Run:
    """Train for so many epochs with the report's batch size."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "model": network,
            "backend": side,
            "data": data,
            "device": "cpu",
            "trainer.epochs": epochs,
            "trainer.batch_size": CASES[network].batch,
            "hydra.run.dir": f"{folder}/run",
        }
        return watch([str(ROOT / "train.py"), *(f"{k}={v}" for k, v in settings.items())])


def watch(arguments: Sequence[str]) -> Run:
    """Run Python with these arguments, and look at its output and its memory.

    Raises:
        BenchmarkError: if it fails, with the last line it printed.
    """
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    assert process.stdout is not None
    peaks, ended, marks, line = [0.0], Event(), [], "it printed nothing"

    def look() -> None:
        while not ended.wait(INTERVAL):
            peaks[0] = max(peaks[0], sum(map(proportional, family(process.pid))))

    looking = Thread(target=look)
    looking.start()
    try:
        for printed in process.stdout:
            line = printed.strip() or line
            if printed.startswith("epoch "):
                marks.append(perf_counter())
    except KeyboardInterrupt:
        process.kill()
        raise
    finally:
        ended.set()
        looking.join()
        process.stdout.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchmarkError(f"{Path(arguments[0]).name} failed: {line}")
    alone = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / MEBIBYTE
    epochs = len(marks) - 1
    return Run(
        (marks[-1] - marks[0]) / epochs if epochs > 0 else float("nan"), max(alone, peaks[0])
    )


def family(pid: int) -> Iterator[int]:
    """Give a process and those that it, or one of them, has started; Linux only."""
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in _read(path).split():
            yield from family(int(child))


def proportional(pid: int) -> float:
    """Return a process's share of memory in MiB, pages divided by the processes that have them."""
    for line in _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / MEBIBYTE
    return 0.0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended meanwhile
        return ""


if __name__ == "__main__":
    command.run("run", main)
