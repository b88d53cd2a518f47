"""Time of a training epoch of R1's recipe: the stock PyTorch loop against the project's loops.

60,000 synthetic images of 28×28, lenet5_tanh, batch 128, Adam, random flips. The stock loop
resizes, flips and converts image by image in a DataLoader; the project's loops hold the images,
resized once, in memory. Start-up is all that comes between having the arrays and training at full
speed: building, resizing once, compiling (without a cache), a few first steps.

    python -m benchmarks.epoch --json epoch.json --picture epoch.png
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from typing import Any

from benchmarks import command
from benchmarks.cases import TRAIN_IMAGES
from benchmarks.harness import (
    BenchmarkError,
    Implementation,
    Statistics,
    Worker,
    interleaved,
    ratios,
)
from training.config import TorchBackendConfig

STOCK = "stock loop"
#: Order and flips differ between the stock loop and the project's; mean losses hardly do.
LOSS_ERROR = 0.02


@dataclass(frozen=True)
class Line:
    """One loop on one device.

    Attributes:
        name: as the table shows it.
        device: "cpu" or "cuda".
        task: "module:Class" of a `benchmarks.epoch_tasks.EpochTask`.
        package: library whose version matters.
        arguments: of the class, beside threads, images and device.
        optional: whether the line may fail to start, and is then reported as not measured.
    """

    name: str
    device: str
    task: str
    package: str = "torch"
    arguments: dict[str, Any] = field(default_factory=dict)
    optional: bool = False

    @property
    def key(self) -> str:
        """Return name and device."""
        return f"{self.name} ({self.device})"

    def start(self, threads: int, images: int) -> Worker:
        """Start the line's process."""
        blas: Any = "one" if self.package == "numpy" else "default"
        implementation = Implementation(self.key, self.task, self.package, blas=blas)
        return Worker(implementation, threads, images=images, device=self.device, **self.arguments)


@dataclass(frozen=True)
class Result:
    """A measured line: seconds an epoch, its ratio to the device's stock loop, start-up seconds."""

    line: str
    device: str
    seconds: Statistics
    ratio: Statistics
    start_up: float
    mean_loss: float


def lines(loaders: int) -> list[Line]:
    """Return every loop there is, measurable here or not."""
    stock, project = "benchmarks.stock_loop:StockLoop", "benchmarks.epoch_tasks:ProjectLoop"
    torch, graph = {"backend": "torch"}, {"backend": "torch", "options": {"mode": "graph"}}
    compiled = torch | {"options": {"compile": True}}
    helped = f"{STOCK}, {loaders} loader process{'es' if loaders > 1 else ''}"
    return [
        Line(STOCK, "cpu", stock),
        Line(helped, "cpu", stock, arguments={"loaders": loaders}),
        Line("resident, eager", "cpu", project, arguments=torch),
        Line("resident, torch.compile", "cpu", project, arguments=compiled, optional=True),
        Line("resident, NumPy", "cpu", project, "numpy", {"backend": "numpy"}),
        Line(STOCK, "cuda", stock),
        Line("resident, eager", "cuda", project, arguments=torch),
        Line("resident, CUDA graph", "cuda", project, arguments=graph),
    ]


def obstacle(line: Line) -> str | None:
    """Return why a line cannot be measured here, or None."""
    if line.device == "cpu":
        return None
    import torch

    if not torch.cuda.is_available():
        return "not measured here: no CUDA device"
    known = {field.name for field in fields(TorchBackendConfig)}
    absent = set(line.arguments.get("options", {})) - known
    if absent:
        return f"not measured: the torch backend has no option {', '.join(sorted(absent))}"
    return None


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
    record["cores_used_by_others"] = others.cores
    print(command.heading(record), end="\n\n")
    print(report(results, unmeasured, options.threads))
    command.save(
        options,
        {
            "benchmark": "epoch",
            "environment": record,
            "settings": {name: getattr(options, name) for name in ("rounds", "threads", "images")},
            "results": [asdict(result) for result in results],
            "not_measured": unmeasured,
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
    check_losses(losses)
    return [
        Result(
            line.name,
            line.device,
            Statistics.of(seconds[line.key]),
            ratios(seconds[line.key], seconds[f"{STOCK} ({line.device})"]),
            start_up[line.key],
            losses[line.key],
        )
        for line in chosen
        if line.key in workers
    ], unmeasured


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
            f"{result.seconds.median:.2f} ({result.seconds.lower:.2f}–{result.seconds.upper:.2f})",
            command.ratio(result.ratio),
            f"{result.start_up:.2f}",
        ]
        for result in results
    ]
    header = ["loop", "s per epoch (quartiles)", "÷ stock loop (range)", "start-up s"]
    text = f"Epoch of lenet5_tanh, batch 128, threads: {threads}\n{command.table(header, rows)}"
    return "\n".join([text, *(f"{key}: {reason}" for key, reason in unmeasured.items())])


if __name__ == "__main__":
    command.run("epoch", main)
