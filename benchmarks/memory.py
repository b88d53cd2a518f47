"""Peak resident memory of a whole training run, one epoch of each backend on the same data.

Each run is `train.py` in a process of its own, whose peak the operating system reports when it
ends. The libraries' share is that of a process that only imports what the backend needs. This
process stays small: a child's peak, as Linux counts it, starts at its parent's.

    python -m benchmarks.memory --data mnist --json memory.json
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from benchmarks import command
from benchmarks.harness import ROOT, BenchmarkError, Implementation, Statistics, interleaved, ratios

SIDES = {
    name: Implementation(name, f"training.{name}_backend", name) for name in ("numpy", "torch")
}
#: The reports' batch sizes; `benchmarks.cases` has them too, but would import NumPy here.
BATCHES = {
    "lenet5_relu": 256,
    "lenet5_tanh": 128,
    "lenet5_avgpool": 64,
    "lenet5_bn": 256,
    "deepcnn21": 500,
}
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Peak:
    """A network's peak memory in MiB on each side, and NumPy's over PyTorch's."""

    network: str
    batch: int
    peaks: dict[str, Statistics]
    ratio: Statistics


def main() -> None:
    """Measure and report as the command line says."""
    parser = command.parser("memory", __doc__, rounds=3)
    parser.add_argument("--data", choices=("digits", "mnist"), default="digits")
    parser.add_argument(
        "--networks", nargs="+", choices=BATCHES, default=list(BATCHES), metavar="NAME"
    )
    options = parser.parse_args()
    if not hasattr(os, "wait4"):
        raise BenchmarkError("this operating system does not report a process's peak memory")
    record = command.prepare(options)
    record["versions"] = command.versions(list(SIDES.values()))
    imports = {
        name: peak(["-c", f"import training.trainer.trainer, {s.target}"])
        for name, s in SIDES.items()
    }
    results = []
    for network in options.networks:
        command.announce(f"{network} on {options.data}")
        found = interleaved(
            {name: partial(train, network, name, options.data) for name in SIDES},
            options.rounds,
        )
        results.append(
            Peak(
                network,
                BATCHES[network],
                {name: Statistics.of(values) for name, values in found.items()},
                ratios(found["numpy"], found["torch"]),
            )
        )
    print(command.heading(record), end="\n\n")
    print(report(results, imports, options.data))
    command.save(
        options,
        {
            "benchmark": "memory",
            "environment": record,
            "settings": {"data": options.data, "epochs": 1, "rounds": options.rounds},
            "unit": "MiB",
            "imports": imports,
            "results": [asdict(result) for result in results],
        },
    )
    if options.picture:
        from benchmarks.pictures import draw_memory

        draw_memory(results, options.data, record, options.picture)


def train(network: str, side: str, data: str) -> float:
    """Return the peak memory, in MiB, of one epoch."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "model": network,
            "backend": side,
            "data": data,
            "device": "cpu",
            "trainer.epochs": 1,
            "trainer.batch_size": BATCHES[network],
            "hydra.run.dir": f"{folder}/run",
        }
        return peak([str(ROOT / "train.py"), *(f"{k}={v}" for k, v in settings.items())])


def peak(arguments: list[str]) -> float:
    """Run Python with these arguments; return its peak resident memory in MiB.

    Raises:
        BenchmarkError: if it fails, with the last line it printed.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=output, stderr=output
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except KeyboardInterrupt:
            process.kill()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            last = (output.read().strip().splitlines() or ["it printed nothing"])[-1]
            raise BenchmarkError(f"{Path(arguments[0]).name} failed: {last}")
    unit = 1 if sys.platform == "darwin" else 1024
    return usage.ru_maxrss * unit / MEBIBYTE


def report(results: list[Peak], imports: dict[str, float], data: str) -> str:
    """Return the table."""
    rows = [
        [
            f"{result.network} ({result.batch})",
            *(_mebibytes(result.peaks[name]) for name in SIDES),
            command.ratio(result.ratio),
        ]
        for result in results
    ]
    shares = [f"{imports[name]:.0f}" for name in SIDES]
    rows.append(["imports alone", *shares, f"{imports['numpy'] / imports['torch']:.2f}"])
    header = ["network (batch)", "NumPy", "PyTorch", "NumPy ÷ PyTorch (range)"]
    return (
        f"Peak resident memory of a training run, one epoch of {data}, MiB: median (range)\n"
        f"{command.table(header, rows)}"
    )


def _mebibytes(sample: Statistics) -> str:
    return f"{sample.median:.0f} ({sample.least:.0f}–{sample.greatest:.0f})"


if __name__ == "__main__":
    command.run("memory", main)
