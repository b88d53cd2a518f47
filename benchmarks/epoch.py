"""Time of a training epoch of R1's recipe: the stock PyTorch loop against the project's loops.

60,000 synthetic images of 28×28, lenet5_tanh, batch 128, Adam, random flips. The stock loop
resizes, flips and converts image by image in a DataLoader; the project's loops hold the images,
resized once, in memory. Start-up is all that comes between having the arrays and training at full
speed: building, resizing once, compiling (without a cache), a few first steps. On CUDA two more
of the reports' recipes are timed. Parity's verdict stands beside every precision.

    python -m benchmarks.epoch --json epoch.json --picture epoch.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from benchmarks import command
from benchmarks.cases import TRAIN_IMAGES
from benchmarks.epoch_lines import R1, STOCK, Line, lines, obstacle
from benchmarks.harness import (
    BenchmarkError,
    Implementation,
    Statistics,
    Worker,
    interleaved,
    ratios,
)

#: Order and flips differ between the stock loop and the project's; mean losses hardly do.
LOSS_ERROR = 0.02
DEVICES = ("cpu", "cuda")
PRECISIONS = {"cpu": ("float32", "bf16"), "cuda": ("float32", "tf32", "bf16")}


@dataclass(frozen=True)
class Result:
    """A measured line: seconds an epoch, start-up seconds, and the first epoch's mean loss.

    The ratio is that to the device's stock loop, None for another recipe than the stock loop's.
    """

    line: str
    device: str
    seconds: Statistics
    ratio: Statistics | None
    start_up: float
    mean_loss: float


def main() -> None:
    """Measure and report as the command line says."""
    parser = command.parser("epoch", __doc__, rounds=5)
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
    packages = ("torch", "torchvision", "numpy")
    record["versions"] = command.versions([Implementation(p, "", p) for p in packages])
    record["cuda"] = cuda_device()
    devices = DEVICES if options.device == "all" else (options.device,)
    chosen = [line for line in lines(options.loaders) if line.device in devices]
    with command.Disturbance() as others:
        results, unmeasured, failed = measure(chosen, options)
        verdicts = judge_precisions(devices)
    record["cores_used_by_others"] = others.cores
    print(command.heading(record), end="\n\n")
    print(report(results, unmeasured, options.threads), end="\n\n")
    print("\n".join(f"parity, {key}: {words}" for key, words in verdicts.items()))
    command.save(
        options,
        {
            "benchmark": "epoch",
            "environment": record,
            "settings": {name: getattr(options, name) for name in ("rounds", "threads", "images")},
            "results": [asdict(result) for result in results],
            "not_measured": unmeasured,
            "parity": verdicts,
        },
    )
    if options.picture:
        from benchmarks.pictures import draw_epochs

        draw_epochs(results, unmeasured, options.picture, record)
    if failed:
        raise BenchmarkError(f"failed: {', '.join(failed)}; the others' results are good")


def measure(
    chosen: list[Line], options: argparse.Namespace
) -> tuple[list[Result], dict[str, str], list[str]]:
    """Return the measured lines, for the others the reason, and which of these should have worked.

    A line that fails is reported; the others go on without it.
    """
    unmeasured = {line.key: reason for line in chosen if (reason := obstacle(line))}
    if len(unmeasured) == len(chosen):
        raise BenchmarkError("nothing can be measured here: there is no CUDA device")
    failures: dict[str, str] = {}
    with ExitStack() as stack:
        workers, start_up = {}, {}
        for line in (line for line in chosen if line.key not in unmeasured):
            command.announce(f"{line.key}: starting")
            try:
                worker = stack.enter_context(line.start(options.threads, options.images))
                start_up[line.key] = worker.call("start_up")
                workers[line.key] = worker
            except BenchmarkError as error:
                failures[line.key] = f"not measured: it does not work here ({error})"
        seconds, losses = _rounds(workers, options.rounds, failures)
    comparable = [line.key for line in chosen if line.key in losses and line.recipe == R1]
    failures |= deviations({key: losses[key] for key in comparable})
    results = []
    for line in (line for line in chosen if line.key in workers and line.key not in failures):
        stock = f"{STOCK} ({line.device})"
        compared = line.recipe == R1 and stock in seconds and stock not in failures
        ratio = ratios(seconds[line.key], seconds[stock]) if compared else None
        measured = Statistics.of(seconds[line.key]), ratio, start_up[line.key], losses[line.key]
        results.append(Result(line.name, line.device, *measured))
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
    import torch

    from benchmarks import precision

    words = {}
    for device in devices:
        for kind in PRECISIONS[device]:
            key = f"{kind} ({device})"
            if device == "cuda" and not torch.cuda.is_available():
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
    """Return what is wrong with the loops whose first epoch's mean loss is not the stock loop's."""
    stock = next((loss for key, loss in losses.items() if key.startswith(f"{STOCK} (")), None)
    return {
        key: f"not timed: the first epoch's mean loss is {loss:.4f}, the stock loop's {stock:.4f}"
        for key, loss in losses.items()
        if stock is not None and not abs(loss - stock) <= LOSS_ERROR * stock
    }


def report(results: list[Result], unmeasured: dict[str, str], threads: int) -> str:
    """Return the table."""
    rows = [
        [
            f"{result.line} ({result.device})",
            f"{result.seconds.median:.3g} ({result.seconds.lower:.3g}–{result.seconds.upper:.3g})",
            command.ratio(result.ratio) if result.ratio else "–",
            f"{result.start_up:.2f}",
        ]
        for result in results
    ]
    header = ["loop", "s per epoch (quartiles)", "÷ stock loop (range)", "start-up s"]
    text = f"Epoch of lenet5_tanh, batch 128, threads: {threads}\n{command.table(header, rows)}"
    return "\n".join([text, *(f"{key}: {reason}" for key, reason in unmeasured.items())])


if __name__ == "__main__":
    command.run("epoch", main)
