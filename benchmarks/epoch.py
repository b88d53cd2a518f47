"""Time of a training epoch of a recipe, R1's by default: the project's loops beside others.

60,000 synthetic images of 28×28. The project's loops hold the images, resized once, in memory.
R1's recipe (lenet5_tanh, batch 128, Adam, random flips) is also timed in the stock PyTorch loop,
which resizes, flips and converts image by image in a DataLoader. Every loop is compared with its
device's first. Start-up is all that comes between having the arrays and training at full speed:
building, resizing once, compiling (without a cache), a few first steps. Parity's verdict stands
beside every precision.

    python -m benchmarks.epoch --json epoch.json
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from typing import Any

from benchmarks import command
from benchmarks.cases import TRAIN_IMAGES
from benchmarks.epoch_lines import R1, Line, lines
from benchmarks.harness import (
    ROOT,
    BenchmarkError,
    Statistics,
    Worker,
    interleaved,
    ratios,
)

RECIPES = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))
#: Order and flips differ between the stock loop and the project's; mean losses hardly do.
LOSS_ERROR = 0.02
DEVICES = ("cpu", "cuda")
PRECISIONS = {"cpu": ("float32", "bf16"), "cuda": ("float32", "tf32", "bf16")}
NO_CUDA = "not measured here: no CUDA device"


def main() -> None:
    """Measure and report as the command line says."""
    parser = command.parser("epoch", __doc__, rounds=5)
    parser.add_argument("--recipe", choices=RECIPES, default=R1, metavar="NAME")
    parser.add_argument("--threads", type=command.threads, default="all", metavar="N")
    parser.add_argument("--images", type=command.positive, default=TRAIN_IMAGES, metavar="N")
    parser.add_argument(
        "--loaders",
        type=command.positive,
        default="2",
        metavar="N",
        help="processes of the second stock loop's DataLoader (default: %(default)s)",
    )
    parser.add_argument("--device", choices=("all", *DEVICES), default="all")
    options = parser.parse_args()
    record = command.prepare(options)
    record["versions"] = command.versions("torch", "torchvision", "numpy")
    record["cuda"] = cuda_device()
    devices = DEVICES if options.device == "all" else (options.device,)
    chosen = [line for line in lines(options.recipe, options.loaders) if line.device in devices]
    with command.Disturbance() as others:
        results, unmeasured, failed = measure(chosen, options)
        verdicts = judge_precisions(devices)
    record["cores_used_by_others"] = others.cores
    names = ("recipe", "rounds", "threads", "images")
    settings = {name: getattr(options, name) for name in names} | {"numpy": "a process per core"}
    content = {
        "benchmark": "epoch",
        "environment": record,
        "settings": settings,
        "results": results,
        "not_measured": unmeasured,
        "parity": verdicts,
    }
    command.finish(options, content)
    if failed:
        raise BenchmarkError(f"failed: {', '.join(failed)}; the others' results are good")


def measure(
    chosen: Sequence[Line], options: argparse.Namespace
) -> tuple[list[dict[str, Any]], dict[str, str], list[str]]:
    """Return the measured lines, for the others the reason, and which of these should have worked.

    A line that fails is reported; the others go on without it.
    """
    cuda = cuda_device() is not None
    unmeasured = {line.key: NO_CUDA for line in chosen if line.device == "cuda" and not cuda}
    if len(unmeasured) == len(chosen):
        raise BenchmarkError("nothing can be measured here: there is no CUDA device")
    failures: dict[str, str] = {}
    workers: dict[str, Worker] = {}
    with ExitStack() as stack:
        start_up = {}
        for line in (line for line in chosen if line.key not in unmeasured):
            command.announce(f"{line.key}: starting")
            try:
                worker = stack.enter_context(line.start(options.threads, options.images))
                start_up[line.key] = worker.call("start_up")
                workers[line.key] = worker
            except BenchmarkError as error:
                failures[line.key] = f"not measured: it does not work here ({error})"
        seconds, losses = _rounds(workers, options.rounds, failures)
    failures |= deviations({key: losses[key] for key in workers if key in losses})
    results: list[dict[str, Any]] = []
    first: dict[str, str] = {}
    for line in (line for line in chosen if line.key in workers and line.key not in failures):
        reference = seconds[first.setdefault(line.device, line.key)]
        result = {
            "line": line.name,
            "device": line.device,
            "seconds": asdict(Statistics.of(seconds[line.key])),
            "ratio": asdict(ratios(seconds[line.key], reference)),
            "start_up": start_up[line.key],
            "mean_loss": losses[line.key],
        }
        results.append(result)
    failed = [line.key for line in chosen if line.key in failures and not line.optional]
    return results, unmeasured | failures, failed


def cuda_device() -> dict[str, Any] | None:
    """Return what torch says of its CUDA device, None without one."""
    import torch

    if not torch.cuda.is_available():
        return None
    return {
        "name": torch.cuda.get_device_name(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def judge_precisions(devices: Sequence[str]) -> dict[str, str]:
    """Return parity's verdict on lenet5_tanh in each precision on each device, or why not."""
    from benchmarks import precision

    words = {}
    for device in devices:
        for kind in PRECISIONS[device]:
            key = f"{kind} ({device})"
            if device == "cuda" and cuda_device() is None:
                words[key] = "not judged here: no CUDA device"
            else:
                words[key] = precision.verdict(precision.compare("lenet5_tanh", kind, device))
    return words


def _rounds(
    workers: dict[str, Worker], rounds: int, failures: dict[str, str]
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return each line's seconds, and its mean loss in the first epoch; note those that fail."""
    losses: dict[str, float] = {}

    def epoch(key: str) -> float:
        if key in failures:
            return float("nan")
        try:
            seconds = workers[key].call("seconds", kind="epoch", count=1)
            losses.setdefault(key, workers[key].call("mean_loss"))
        except BenchmarkError as error:
            failures[key] = f"not measured: it failed on the way ({error})"
            return float("nan")
        command.announce(f"{key}: {seconds:.2f} s")
        return seconds

    return interleaved({key: partial(epoch, key) for key in workers}, rounds), losses


def deviations(losses: dict[str, float]) -> dict[str, str]:
    """Return what is wrong with the loops whose first epoch's mean loss is not the first's."""
    first = next(iter(losses), "")
    return {
        key: f"not timed: the first epoch's mean loss is {loss:.4f}, {first}'s {losses[first]:.4f}"
        for key, loss in losses.items()
        if not abs(loss - losses[first]) <= LOSS_ERROR * losses[first]
    }


if __name__ == "__main__":
    command.run("epoch", main)
