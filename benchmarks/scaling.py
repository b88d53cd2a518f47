"""How a step's time grows with cores and with the batch.

A step is that of `benchmarks.step`; PyTorch's cores are threads, NumPy's processes. Every point has
processes of its own: what a process has allocated before decides how much memory glibc hands back
at every step, and so torch's time.

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
from benchmarks.harness import measure, samples, start_workers
from benchmarks.step import NUMPY, TORCH, TWINS

#: What grows, and the values it takes.
SERIES = {"workers": [1, 2, 4], "batch": [8, 16, 32, 64, 128, 256, 1024, 4096]}
#: Beside growing batches: from which one a process per core is faster.
ALONE = replace(NUMPY, name="numpy-alone")


def main() -> None:
    """Measure and report as the command line says."""
    parser = command.parser("scaling", __doc__, rounds=5, seconds=0.15)
    parser.add_argument("--network", choices=CASES, default="lenet5_relu", metavar="NAME")
    for series, values in SERIES.items():
        parser.add_argument(
            f"--{series}", nargs="*", type=command.positive, default=values, metavar="N"
        )
    options = parser.parse_args()
    settings = {"network": options.network, "rounds": options.rounds, "numpy": "a process per core"}
    with command.measurement("scaling", options, "numpy", "torch", **settings) as content:
        content["points"] = [
            _point(series, value, options)
            for series in SERIES
            for value in getattr(options, series)
        ]


def _point(series: str, value: int, options: argparse.Namespace) -> dict[str, Any]:
    """Measure at one value of what grows."""
    command.announce(f"{series}: {value}")
    threads = value if series == "workers" else command.threads("all")
    batch = value if series == "batch" else CASES[options.network].batch
    with ExitStack() as stack:
        case = {"network": options.network, "batch": batch}
        workers = start_workers(stack, TWINS, threads, **case)
        if series == "batch":
            workers |= start_workers(stack, [ALONE], 1, **case)
        check_losses(workers, TORCH.name, f"batch {batch}")
        seconds = samples(measure(workers, "step", options.rounds, options.seconds))
    return {"series": series, "value": value, "seconds": seconds}


if __name__ == "__main__":
    command.run("scaling", main)
