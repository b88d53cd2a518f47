"""Time of a training epoch of R1's recipe: the stock PyTorch loop against the project's loops.

60,000 synthetic images of 28×28, lenet5_tanh, batch 128, Adam, random flips. The stock loop
resizes, flips and converts image by image in a DataLoader; the project's loops hold the images,
resized once, in memory. Start-up is all that comes between having the arrays and training at full
speed: building, resizing once, compiling (without a cache), a few first steps. "Together" trains
that many networks at once, and its seconds are one network's share. On CUDA two more of the
reports' recipes are timed. Parity's verdict stands beside every precision.

    python -m benchmarks.epoch --json epoch.json --picture epoch.png
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial

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
    options = parser.parse_args()
    record = command.prepare(options)
    packages = ("torch", "torchvision", "numpy")
    record["versions"] = command.versions([Implementation(p, "", p) for p in packages])
    with command.Disturbance() as others:
        results, unmeasured = measure(lines(options.loaders), options)
        verdicts = judge_precisions()
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


def measure(chosen: list[Line], options: argparse.Namespace) -> tuple[list[Result], dict[str, str]]:
    """Return the measured lines, and for the others the reason."""
    unmeasured: dict[str, str] = {}
    with ExitStack() as stack:
        workers, start_up = {}, {}
        for line in chosen:
            reason = obstacle(line)
            if reason:
                unmeasured[line.key] = reason
                continue
            command.announce(f"{line.key}: starting")
            try:
                worker = stack.enter_context(line.start(options.threads, options.images))
                start_up[line.key] = worker.call("start_up")
                workers[line.key] = worker
            except BenchmarkError as error:
                if not line.optional:
                    raise
                unmeasured[line.key] = f"not measured: it does not work here ({error})"
        seconds, losses = _rounds(workers, options.rounds)
    check_losses({line.key: losses[line.key] for line in chosen if _comparable(line, losses)})
    results = []
    for line in (line for line in chosen if line.key in workers):
        share = [value / line.models for value in seconds[line.key]]
        stock = seconds[f"{STOCK} ({line.device})"]
        ratio = ratios(share, stock) if line.recipe == R1 else None
        measured = Statistics.of(share), ratio, start_up[line.key], losses[line.key]
        results.append(Result(line.name, line.device, *measured))
    return results, unmeasured


def _comparable(line: Line, losses: dict[str, float]) -> bool:
    return line.recipe == R1 and line.key in losses


def judge_precisions() -> dict[str, str]:
    """Return parity's verdict on lenet5_tanh in each precision on each device, or why not."""
    import torch

    from benchmarks import precision

    words = {}
    for device, kinds in (("cpu", ("float32", "bf16")), ("cuda", ("float32", "tf32", "bf16"))):
        for kind in kinds:
            key = f"{kind} ({device})"
            if device == "cuda" and not torch.cuda.is_available():
                words[key] = "not judged here: no CUDA device"
            else:
                words[key] = precision.verdict(precision.compare("lenet5_tanh", kind, device))
    return words


def _rounds(
    workers: dict[str, Worker], rounds: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return each line's seconds, and its mean loss in the first epoch."""
    losses: dict[str, float] = {}

    def epoch(key: str) -> float:
        seconds = workers[key].call("seconds", kind="epoch", count=1)
        losses.setdefault(key, workers[key].call("mean_loss"))
        command.announce(f"{key}: {seconds:.2f} s")
        return seconds

    return interleaved({key: partial(epoch, key) for key in workers}, rounds), losses


def check_losses(losses: dict[str, float]) -> None:
    """Compare the mean losses of the first epoch.

    Raises:
        BenchmarkError: if they differ by more than another order of images explains.
    """
    expected = losses[f"{STOCK} (cpu)"]
    for key, loss in losses.items():
        if not abs(loss - expected) <= LOSS_ERROR * expected:
            raise BenchmarkError(
                f"{key}: the first epoch's mean loss is {loss:.4f}, the stock loop's "
                f"{expected:.4f}; no times are given for loops that do not train the same"
            )


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
