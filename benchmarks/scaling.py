"""How time grows: a step with cores and batch, a convolution with its channels and its images.

A step is that of `benchmarks.step`; PyTorch's cores are threads, NumPy's processes. The convolution
stands alone, on one core, so that NumPy's pays for turning its public arrays (batch first) into its
own (batch last) and back, which a whole network pays at its ends only. PyTorch is timed as it is,
and with glibc told to keep freed memory. Every point has processes of its own: what a process has
allocated before decides how much memory glibc hands back at every step, and so torch's time.

    python -m benchmarks.scaling --json scaling.json
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from benchmarks import command
from benchmarks.agreement import check_losses
from benchmarks.cases import CASES
from benchmarks.harness import (
    BenchmarkError,
    Implementation,
    Worker,
    measure,
    samples,
    start_workers,
)
from benchmarks.step import NUMPY, TORCH, TWINS

#: What grows, and the values it takes.
SERIES = {
    "workers": [1, 2, 4],
    "batch": [8, 16, 32, 64, 128, 256, 1024, 4096],
    "channels": [4, 8, 16, 32, 64, 128],
    "size": [8, 16, 32, 64],
}
#: The convolution, of which one dimension grows.
CONVOLUTION = {"channels": 16, "size": 16, "kernel": 3, "batch": 64}
#: Cosines of equal float32 results, up to rounding, differ by less.
COSINE_ERROR = 1e-5

#: Beside growing batches: from which one a process per core is faster.
ALONE = replace(NUMPY, name="numpy-alone")

TORCH_CONVOLUTION = "benchmarks.torch_tasks:TorchConvolution"
CONVOLUTIONS = [
    Implementation("numpy", "benchmarks.project_tasks:NumpyConvolution", "numpy"),
    Implementation("torch", TORCH_CONVOLUTION, "torch"),
    Implementation("torch-kept", TORCH_CONVOLUTION, "torch", keeps_memory=True),
]


def main() -> None:
    """Measure and report as the command line says."""
    parser = command.parser("scaling", __doc__, rounds=5, seconds=0.15)
    parser.add_argument("--network", choices=CASES, default="lenet5_relu", metavar="NAME")
    for series, values in SERIES.items():
        parser.add_argument(
            f"--{series}", nargs="*", type=command.positive, default=values, metavar="N"
        )
    options = parser.parse_args()
    settings: dict[str, Any] = {"network": options.network, "rounds": options.rounds}
    settings |= {"convolution": CONVOLUTION, "numpy": "a process per core"}
    with command.measurement("scaling", options, "numpy", "torch", **settings) as content:
        content["points"] = [
            _point(series, value, options)
            for series in SERIES
            for value in getattr(options, series)
        ]


def _point(series: str, value: int, options: argparse.Namespace) -> dict[str, Any]:
    """Measure at one value of what grows."""
    command.announce(f"{series}: {value}")
    convolution = series in ("channels", "size")
    threads = 1 if convolution else command.threads("all")
    case: dict[str, Any] = {"network": options.network, "batch": CASES[options.network].batch}
    if series == "workers":
        threads = value
    else:
        case = (CONVOLUTION if convolution else case) | {series: value}
    with ExitStack() as stack:
        workers = start_workers(stack, CONVOLUTIONS if convolution else TWINS, threads, **case)
        if series == "batch":
            workers |= start_workers(stack, [ALONE], 1, **case)
        if convolution:
            check_cosines(workers, f"{case['channels']} channels, size {case['size']}")
        else:
            check_losses(workers, TORCH.name, f"batch {case['batch']}")
        kind = "run" if convolution else "step"
        seconds = samples(measure(workers, kind, options.rounds, options.seconds))
    return {"series": series, "value": value, "seconds": seconds}


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


if __name__ == "__main__":
    command.run("scaling", main)
