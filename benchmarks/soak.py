"""Train for thousands of steps on each backend and watch memory and open files stay where they are.

Each backend trains in a process of its own through the same trainer as train.py, with a checkpoint
every hundred steps, on scikit-learn's digits. At evenly spaced steps the process looks at its
resident memory and its open files. What counts is the growth after the first fifth, which fills
buffers and caches.

    python -m benchmarks.soak --steps 5000
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import command
from benchmarks.harness import ROOT, BenchmarkError, Implementation, Worker

BACKENDS = ("numpy", "torch")
MODELS = sorted(path.stem for path in (ROOT / "conf" / "model").glob("*.yaml"))
STEPS_PER_EPOCH = 23  # 1,437 images in batches of 64
SAMPLES = 50
#: More growth than this after the first fifth, or one more open file, fails the benchmark.
TOLERATED_MIB = 16.0
JUDGED = 1000


def main() -> None:
    """Run the command."""
    parser = command.parser("soak", __doc__)
    parser.add_argument("--steps", type=command.positive, default=10_000)
    parser.add_argument("--model", choices=MODELS, default="lenet5_relu", metavar="NAME")
    parser.add_argument("--backend", nargs="+", choices=BACKENDS, default=BACKENDS)
    options = parser.parse_args()
    if not Path("/proc/self/statm").exists():
        raise BenchmarkError("it needs a system with /proc, such as Linux")
    settings = {"model": options.model, "steps": options.steps}
    runs: dict[str, Any] = {}
    with command.measurement("soak", options, *options.backend, **settings) as content:
        content["runs"] = runs
        for name in options.backend:
            command.announce(f"{name}: {options.steps:,} steps")
            side = Implementation(name, "benchmarks.soak:Soak", name)
            with Worker(side, threads=1, backend=name) as worker:
                runs[name] = worker.call("train", **settings)
    if options.steps < JUDGED:
        print(f"below {JUDGED:,} steps caches are still filling: nothing is concluded")
    elif leaking := [name for name, run in runs.items() if leaks(run)]:
        raise BenchmarkError(f"memory or open files grow on {', '.join(leaking)}")


def leaks(run: dict[str, Any]) -> bool:
    """Return whether a run's samples [step, MiB, open files] grow after the first fifth."""
    samples = run["samples"]
    settled, last = samples[len(samples) // 5], samples[-1]
    return last[1] - settled[1] > TOLERATED_MIB or last[2] > settled[2]


class Soak:
    """Trains in a worker's process, of which one thread is used."""

    def __init__(self, threads: int, backend: str) -> None:
        self._settings = [f"backend={backend}", f"backend.threads={threads}", "device=cpu"]

    def train(self, steps: int, model: str) -> dict[str, Any]:
        """Train; return the seconds, and as samples [step, resident MiB, open files] each."""
        from training.backends.opening import open_backend
        from training.backends.ranks import ALONE
        from training.config.composition import configuration
        from training.data import load_dataset
        from training.trainer.console import Console
        from training.trainer.record import RunRecord
        from training.trainer.signals import StopRequest
        from training.trainer.trainer import Trainer

        epochs = -(-steps // STEPS_PER_EPOCH)
        settings = [f"model={model}", "data=digits", "trainer.batch_size=64"]
        settings += [f"trainer.epochs={epochs}", "trainer.checkpoint_every=100 steps"]
        config = configuration(*settings, *self._settings)
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
            parts = config, side, dataset, ALONE, Path(place), Console(silent=True)
            started = perf_counter()
            Trainer(RunRecord(*parts), StopRequest()).fit()
        return {"seconds": perf_counter() - started, "samples": samples}


def resident() -> float:
    """Return this process's resident memory in MiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    command.run("soak", main)
