"""Train for thousands of steps on each backend and watch memory and open files stay where they are.

Each backend trains in a process of its own through the same session as train.py, with a checkpoint
every hundred steps, on scikit-learn's digits. At evenly spaced steps the process looks at its
resident memory and its open files. What counts is the growth after the first fifth, which fills
buffers and caches.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import command
from benchmarks.harness import ROOT, BenchmarkError

BACKENDS = ("numpy", "torch")
MODELS = sorted(path.stem for path in (ROOT / "conf" / "model").glob("*.yaml"))
STEPS_PER_EPOCH = 23  # 1,437 images in batches of 64
SAMPLES = 50
#: More growth than this after the first fifth, or one more open file, fails the benchmark.
TOLERATED_MIB = 16.0
JUDGED = 1000


def main() -> None:
    """Run the command."""
    options = _options()
    if options.worker:
        print(json.dumps(train(options.worker, options.steps, options.model)))
        return
    record = command.prepare(options)
    runs = {name: _run(name, options.steps, options.model) for name in options.backend}
    rows = [_row(name, run) for name, run in runs.items()]
    header = ("backend", "steps", "minutes", "MiB after 1/5", "MiB at the end", "growth", "files")
    print(f"{options.model}, one thread, batches of 64, a checkpoint every 100 steps")
    print(command.table(header, rows))
    command.save(options, {**record, "model": options.model, "runs": runs})
    if options.steps < JUDGED:
        print(f"below {JUDGED:,} steps caches are still filling: nothing is concluded")
        return
    leaking = [name for name, run in runs.items() if _leaks(run)]
    if leaking:
        raise BenchmarkError(f"memory or open files grow on {', '.join(leaking)}")


def train(backend: str, steps: int, model: str) -> dict[str, Any]:
    """Train in this process and return its samples.

    Returns:
        seconds, and samples: [step, resident MiB, open files] each.
    """
    from training.environment import prepare_blas

    prepare_blas(backend)
    from training.backends.opening import open_backend
    from training.backends.ranks import ALONE
    from training.config.composition import configuration
    from training.data import load_dataset
    from training.trainer.console import Console
    from training.trainer.signals import StopRequest
    from training.trainer.trainer import Trainer

    epochs = -(-steps // STEPS_PER_EPOCH)
    settings = [f"model={model}", f"backend={backend}", "data=digits", "trainer.batch_size=64"]
    settings += [f"trainer.epochs={epochs}", "trainer.checkpoint_every=100 steps", "device=cpu"]
    settings.append("backend.threads=1")
    config = configuration(*settings)
    side = open_backend(config, ALONE)
    size = config.model.image_size
    dataset = load_dataset("digits", image_size=size, announce=lambda _: None)
    side.place(dataset)
    samples: list[tuple[int, float, int]] = []
    done, every, take = 0, max(1, steps // SAMPLES), side.train

    def watched(first: int, last: int) -> None:
        nonlocal done
        take(first, last)
        done += last - first
        if done % every < last - first:
            samples.append((done, resident(), len(os.listdir("/proc/self/fd"))))

    side.train = watched  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as place:
        parts = config, side, dataset, ALONE, Path(place), StopRequest(), Console(silent=True)
        started = perf_counter()
        Trainer(*parts).fit()
    return {"seconds": perf_counter() - started, "samples": samples}


def resident() -> float:
    """Return this process's resident memory in MiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _run(name: str, steps: int, model: str) -> dict[str, Any]:
    command.announce(f"{name}: {steps:,} steps")
    module = [sys.executable, "-m", "benchmarks.soak", "--worker", name]
    result = subprocess.run(
        [*module, "--steps", str(steps), "--model", model],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if result.returncode:
        raise BenchmarkError(f"the run on {name} ended with status {result.returncode}")
    return json.loads(result.stdout)


def _leaks(run: dict[str, Any]) -> bool:
    settled, last = _ends(run)
    return last[1] - settled[1] > TOLERATED_MIB or last[2] > settled[2]


def _ends(run: dict[str, Any]) -> tuple[list, list]:
    samples = run["samples"]
    return samples[len(samples) // 5], samples[-1]


def _row(name: str, run: dict[str, Any]) -> list[str]:
    settled, last = _ends(run)
    return [
        name,
        f"{last[0]:,}",
        f"{run['seconds'] / 60:.1f}",
        f"{settled[1]:.1f}",
        f"{last[1]:.1f}",
        f"{last[1] - settled[1]:+.1f}",
        f"{settled[2]} → {last[2]}",
    ]


def _options() -> argparse.Namespace:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description=(__doc__ or "").partition("\n")[0]
    )
    made.add_argument("--steps", type=command.positive, default=10_000)
    made.add_argument("--model", choices=MODELS, default="lenet5_relu")
    made.add_argument("--backend", nargs="+", choices=BACKENDS, default=BACKENDS)
    made.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON")
    made.add_argument("--worker", choices=BACKENDS, help=argparse.SUPPRESS)
    options = made.parse_args()
    options.picture = None
    if not Path("/proc/self/statm").exists():
        made.error("it needs a system with /proc, such as Linux")
    return options


if __name__ == "__main__":
    command.run("soak", main)
