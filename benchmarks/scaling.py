"""How time grows: a step with its batch, a convolution with its channels and its images' size.

A convolution's rate counts the multiplications and additions of the direct form, forward and
backward: 6·N·C²·k²·H·W. The limit drawn beside it is the machine's rate for a product of two large
square matrices, measured in the same run. NumPy's convolution stands alone here and so pays for
turning its public arrays (batch first) into its own (batch last) and back, which a whole network
pays at its ends only. PyTorch is timed as it is, and with glibc told to keep freed memory. Every
point has processes of its own.

    python -m benchmarks.scaling --json scaling.json --picture scaling.png
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks import command
from benchmarks.agreement import check_losses
from benchmarks.cases import CASES
from benchmarks.harness import (
    BenchmarkError,
    Implementation,
    Statistics,
    Worker,
    measure,
    ratios,
    start_workers,
)
from benchmarks.step import NUMPY, TORCH, TWINS

BATCHES = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096]
CHANNELS = [4, 8, 16, 32, 64, 128]
SIZES = [8, 16, 32, 64]
#: The convolution's other dimensions while one of them grows.
CONVOLUTION = {"channels": 16, "size": 16, "batch": 64}
#: Cosines of equal float32 results, up to rounding, differ by less.
COSINE_ERROR = 1e-5

NAMES = ("NumPy", "PyTorch", "memory kept")
RATIOS = ("NumPy ÷ PyTorch", "÷ memory kept")

CONVOLUTIONS = [
    Implementation("numpy", "benchmarks.numpy_tasks:NumpyConvolution", "numpy", blas="one"),
    Implementation("torch", "benchmarks.torch_tasks:TorchConvolution", "torch"),
    Implementation(
        "torch-kept", "benchmarks.torch_tasks:TorchConvolution", "torch", keeps_memory=True
    ),
]
PRODUCTS = [
    Implementation("numpy", "benchmarks.numpy_tasks:NumpyProduct", "numpy", blas="all"),
    Implementation("torch", "benchmarks.torch_tasks:TorchProduct", "torch"),
]


@dataclass(frozen=True)
class Point:
    """A measurement at one value of what grows.

    Attributes:
        series: "batch", "channels" or "size".
        value: of what grows.
        operations: floating-point operations of a run; 0 where they are not counted.
        seconds: per implementation, of one run.
        ratios: NumPy's time over that of each way of running PyTorch, round by round.
    """

    series: str
    value: int
    operations: int
    seconds: dict[str, Statistics]
    ratios: dict[str, Statistics]

    @classmethod
    def of(cls, series: str, value: int, operations: int, seconds: dict[str, list[float]]) -> Point:
        """Return the point with its samples summarised."""
        summaries = {name: Statistics.of(values) for name, values in seconds.items()}
        numpy = seconds["numpy"]
        found = {name: ratios(numpy, seconds[name]) for name in seconds if name != "numpy"}
        return cls(series, value, operations, summaries, found)

    def rate(self, name: str) -> float:
        """Return an implementation's GFLOP/s."""
        return self.operations / self.seconds[name].median / 1e9


@dataclass(frozen=True)
class Limit:
    """The rate of a square product, in GFLOP/s, by the library that is faster at it."""

    threads: int
    library: str
    rate: float


def main() -> None:
    """Measure and report as the command line says."""
    options = _parser().parse_args()
    record = command.prepare(options)
    record["versions"] = command.versions([NUMPY, TORCH])
    with command.Disturbance() as others:
        limits = [
            _limit(threads, options, record) for threads in sorted({1, command.threads("all")})
        ]
        points = _convolutions(options) + _batches(options)
    record["cores_used_by_others"] = others.cores
    print(command.heading(record), end="\n\n")
    print(report(points, limits, options))
    settings = {name: getattr(options, name) for name in ("network", "kernel", "threads", "rounds")}
    command.save(
        options,
        {
            "benchmark": "scaling",
            "environment": record,
            "settings": settings | {"convolution": CONVOLUTION, "product": options.product},
            "limits": [asdict(limit) for limit in limits],
            "points": [asdict(point) for point in points],
        },
    )
    if options.picture:
        from benchmarks.pictures import draw_scaling

        draw_scaling(points, limits, options, record)


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("scaling", __doc__, rounds=5)
    command.add_seconds(parser, 0.15)
    several: dict[str, Any] = {"nargs": "+", "type": command.positive, "metavar": "N"}
    parser.add_argument("--network", choices=CASES, default="lenet5_relu", metavar="NAME")
    parser.add_argument("--threads", type=command.threads, default="all", metavar="N")
    parser.add_argument("--batches", default=BATCHES, **several)
    parser.add_argument("--channels", default=CHANNELS, **several)
    parser.add_argument("--sizes", default=SIZES, **several)
    parser.add_argument(
        "--kernel", type=int, choices=(1, 3, 5, 7), default=3, help="default: %(default)s"
    )
    parser.add_argument(
        "--product",
        type=command.positive,
        default=2048,
        metavar="N",
        help="rows and columns of the limit's matrices (default: %(default)s)",
    )
    return parser


def _limit(threads: int, options: argparse.Namespace, record: dict[str, Any]) -> Limit:
    """Measure the square product at one number of threads; note NumPy's BLAS in the record."""
    command.announce(f"square product, threads: {threads}")
    with ExitStack() as stack:
        workers = start_workers(stack, PRODUCTS, threads, size=options.product)
        seconds = measure(workers, "run", options.rounds, options.seconds)
        record["blas"] = command.blas(workers["numpy"].call("describe"))
    operations = 2 * options.product**3
    rates = {name: operations / Statistics.of(v).median / 1e9 for name, v in seconds.items()}
    fastest = max(rates, key=lambda name: rates[name])
    return Limit(threads, fastest, rates[fastest])


def _convolutions(options: argparse.Namespace) -> list[Point]:
    points = []
    measured: dict[tuple[int, ...], dict[str, list[float]]] = {}
    for series, values in (("channels", options.channels), ("size", options.sizes)):
        for value in values:
            shape = CONVOLUTION | {series: value}
            place = tuple(shape.values())
            if place not in measured:  # a shape of both series is one measurement
                command.announce(f"convolution, {series} {value}")
                measured[place] = _convolution(shape, f"{series} {value}", options)
            work = 6 * shape["batch"] * (shape["channels"] * shape["size"]) ** 2
            points.append(Point.of(series, value, work * options.kernel**2, measured[place]))
    return points


def _convolution(
    shape: dict[str, int], case: str, options: argparse.Namespace
) -> dict[str, list[float]]:
    """Measure one shape in fresh processes.

    What a process has allocated before decides how much memory glibc hands back at every step, and
    so torch's time: in a process that had seen larger images, a shape took a third of its time.
    """
    with ExitStack() as stack:
        workers = start_workers(stack, CONVOLUTIONS, options.threads)
        for worker in workers.values():
            worker.call("use", kernel=options.kernel, **shape)
        check_cosines(workers, case)
        return measure(workers, "run", options.rounds, options.seconds)


def check_cosines(workers: dict[str, Worker], case: str) -> None:
    """Compare the convolutions' results.

    Raises:
        BenchmarkError: if they differ by more than rounding.
    """
    found = {name: worker.call("cosines") for name, worker in workers.items()}
    names = ("output", "input gradient", "weight gradient", "bias gradient")
    for name, ours, theirs in zip(names, found["numpy"], found["torch"], strict=True):
        if not abs(ours - theirs) <= COSINE_ERROR:
            raise BenchmarkError(f"convolution, {case}: numpy and torch differ in the {name}")


def _batches(options: argparse.Namespace) -> list[Point]:
    points = []
    for number, batch in enumerate(options.batches):
        with ExitStack() as stack:
            workers = start_workers(stack, TWINS, options.threads, network=options.network)
            if number == 0:
                command.announce(f"{options.network}: comparing losses")
                check_losses(workers, TORCH.name, options.network)
            command.announce(f"{options.network}, batch {batch}")
            for worker in workers.values():
                worker.call("use_batch", batch=batch)
            seconds = measure(workers, "step", options.rounds, options.seconds)
        points.append(Point.of("batch", batch, 0, seconds))
    return points


def report(points: list[Point], limits: list[Limit], options: Any) -> str:
    """Return the tables."""
    parts = [
        "Square product, float32\n"
        + command.table(
            ["threads", "GFLOP/s", "by"],
            [[str(limit.threads), f"{limit.rate:.0f}", limit.library] for limit in limits],
        )
    ]
    fixed = {"channels": "{size}×{size} images", "size": "{channels} channels"}
    for series, others in fixed.items():
        rows = [
            [
                str(point.value),
                *map(command.milliseconds, point.seconds.values()),
                *(f"{point.rate(name):.0f}" for name in point.seconds),
                *map(command.ratio, point.ratios.values()),
            ]
            for point in points
            if point.series == series
        ]
        kernel = f"{options.kernel}×{options.kernel}"
        title = f"Convolution {kernel}, {others}, batch {{batch}}, forward and backward"
        header = [series, *(f"{name} ms" for name in NAMES), *["GFLOP/s"] * len(NAMES), *RATIOS]
        parts.append(
            f"{title.format(**CONVOLUTION)}, threads: {options.threads}\n"
            f"{command.table(header, rows)}"
        )
    rows = [
        [
            str(point.value),
            *map(command.milliseconds, point.seconds.values()),
            *(f"{1e6 * taken.median / point.value:.1f}" for taken in point.seconds.values()),
            *map(command.ratio, point.ratios.values()),
        ]
        for point in points
        if point.series == "batch"
    ]
    header = ["batch", *(f"{name} ms" for name in NAMES), *["µs/image"] * len(NAMES), *RATIOS]
    parts.append(
        f"Training step of {options.network}, threads: {options.threads}\n"
        f"{command.table(header, rows)}"
    )
    return "\n\n".join(parts)


if __name__ == "__main__":
    command.run("scaling", main)
