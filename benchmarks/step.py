"""Time of a training step and of inference: NumPy, PyTorch eager, and other libraries.

A step is the gather of a batch of uint8 images held in memory, their scaling, forward, loss,
backward and Adam, in float32 at the report's batch size; inference is a forward pass over 10,000
images. PyTorch is timed twice: as it is, and with glibc told to keep freed memory instead of giving
large blocks back to the system at every step. Images are synthetic. Import, data and warm-up are
not counted. Times are given only after the losses of 20 steps, with shared dropout masks, have been
found to agree.

    python -m benchmarks.step --json step.json --picture step.png
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from benchmarks import command
from benchmarks.agreement import STEPS, check_losses
from benchmarks.cases import CASES, TEST_IMAGES, TRAIN_IMAGES
from benchmarks.harness import Implementation, Statistics, measure, ratios, start_workers

NUMPY = Implementation("numpy", "benchmarks.numpy_tasks:NumpyStep", "numpy", blas="one")
TORCH = Implementation("torch", "benchmarks.torch_tasks:TorchStep", "torch")
KEPT = Implementation("torch-kept", TORCH.target, "torch", keeps_memory=True)
TWINS = (NUMPY, TORCH, KEPT)
PEERS = {
    "mygrad": Implementation(
        "mygrad", "benchmarks.peers.mygrad_lenet5:MyGradStep", "mygrad", blas="all"
    ),
    "jax": Implementation("jax", "benchmarks.peers.jax_lenet5:JaxStep", "jax", pinned=True),
}
PEER_NETWORK = "lenet5_relu"
KINDS = {
    "step": "Training step, ms: median (quartiles)",
    "inference": f"Inference, {TEST_IMAGES:,} images, ms: median (quartiles)",
}


@dataclass(frozen=True)
class Result:
    """One kind of run of one network at one number of threads.

    Attributes:
        kind: "step" or "inference".
        network: its name.
        batch: images per step.
        threads: threads of every implementation.
        seconds: per implementation, of one run.
        ratios: "a/b": a's time over b's, round by round.
    """

    kind: str
    network: str
    batch: int
    threads: int
    seconds: dict[str, Statistics]
    ratios: dict[str, Statistics]

    def to_record(self) -> dict[str, Any]:
        """Return the same as JSON values."""
        return vars(self) | {
            "seconds": {name: s.to_record() for name, s in self.seconds.items()},
            "ratios": {name: s.to_record() for name, s in self.ratios.items()},
        }


def main() -> None:
    """Measure and report as the command line says."""
    options = _parser().parse_args()
    record = command.prepare(options)
    peers = [PEERS[name] for name in options.peers if PEERS[name].installed]
    absent = [name for name in options.peers if not PEERS[name].installed]
    record["versions"] = command.versions([NUMPY, TORCH, *peers])
    record["absent"] = absent
    results, checks, processes = [], [], []
    with command.Disturbance() as others:
        for network in options.networks:
            for threads in sorted(set(options.threads)):
                beside = peers if network == PEER_NETWORK else []
                case = _case(network, threads, [*TWINS, *beside], options)
                place = {"network": network, "threads": threads}
                results += case[0]
                checks.append(place | {"share_of_tolerance": case[1]})
                processes.append(place | {"processes": case[2]})
    record["cores_used_by_others"] = others.cores
    record["blas"] = command.blas(case[2]["numpy"])
    print(command.heading(record), end="\n\n")
    print(report(results, absent))
    settings = {
        "rounds": options.rounds,
        "seconds_per_measurement": options.seconds,
        "optimizer": "Adam on every side, lr 0.001 (torch: fused)",
        "data": f"{TRAIN_IMAGES} synthetic uint8 images in memory, random order",
        "loss_check_steps": STEPS,
    }
    command.save(
        options,
        {
            "benchmark": "step",
            "environment": record,
            "settings": settings,
            "results": [result.to_record() for result in results],
            "loss_checks": checks,
            "processes": processes,
        },
    )
    if options.picture:
        from benchmarks.pictures import draw_steps

        draw_steps(results, record, options.picture)


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("step", __doc__, rounds=9)
    command.add_seconds(parser, 0.25)
    parser.add_argument("--networks", nargs="+", choices=CASES, default=list(CASES), metavar="NAME")
    parser.add_argument(
        "--threads",
        nargs="+",
        type=command.threads,
        default=[1, command.threads("all")],
        metavar="N",
        help="numbers of threads, or all (default: 1 all)",
    )
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=PEERS,
        default=list(PEERS),
        metavar="NAME",
        help=f"libraries to compare on {PEER_NETWORK}, where installed (default: all known)",
    )
    return parser


def _case(
    network: str, threads: int, implementations: list[Implementation], options: Any
) -> tuple[list[Result], dict[str, float], dict[str, Any]]:
    """Check and measure one network at one number of threads, in processes of its own."""
    name = f"{network}, {threads} thread{'s' if threads > 1 else ''}"
    with ExitStack() as stack:
        workers = start_workers(stack, implementations, threads, network=network)
        command.announce(f"{name}: comparing losses")
        shares = check_losses(workers, TORCH.name, name)
        command.announce(f"{name}: timing")
        results = []
        for kind in KINDS:
            timed = workers if kind == "step" else {one.name: workers[one.name] for one in TWINS}
            length = options.seconds if kind == "step" else None
            seconds = measure(timed, kind, options.rounds, length)
            results.append(
                Result(
                    kind,
                    network,
                    CASES[network].batch,
                    threads,
                    {n: Statistics.of(values) for n, values in seconds.items()},
                    _ratios(seconds),
                )
            )
        return results, shares, {n: worker.call("describe") for n, worker in workers.items()}


def _ratios(seconds: dict[str, list[float]]) -> dict[str, Statistics]:
    torches = (one.name for one in TWINS if one is not NUMPY)
    found = {f"numpy/{name}": ratios(seconds["numpy"], seconds[name]) for name in torches}
    for name in seconds:
        if name in PEERS:
            found[f"{name}/numpy"] = ratios(seconds[name], seconds["numpy"])
    return found


def report(results: list[Result], absent: list[str]) -> str:
    """Return the tables."""
    parts = []
    for kind, title in KINDS.items():
        rows = [
            [
                f"{result.network} ({result.batch})" if kind == "step" else result.network,
                str(result.threads),
                *(command.milliseconds(result.seconds[one.name]) for one in TWINS),
                command.ratio(result.ratios["numpy/torch"]),
                command.ratio(result.ratios["numpy/torch-kept"]),
            ]
            for result in results
            if result.kind == kind
        ]
        first = "network (batch)" if kind == "step" else "network"
        names = ["NumPy", "PyTorch eager", "PyTorch, memory kept"]
        header = [first, "threads", *names, "NumPy ÷ PyTorch (range)", "÷ memory kept (range)"]
        parts.append(f"{title}\n{command.table(header, rows)}")
    rows = [
        [
            name,
            str(result.threads),
            command.milliseconds(result.seconds[name]),
            command.ratio(result.ratios[f"{name}/numpy"]),
        ]
        for name in PEERS
        for result in results
        if name in result.seconds
    ]
    if rows:
        header = ["library", "threads", "step", "÷ NumPy (range)"]
        parts.append(
            f"Other libraries, training step of {PEER_NETWORK}, ms\n{command.table(header, rows)}"
        )
    if absent:
        parts.append(
            f"Not installed, so not measured: {', '.join(absent)} "
            "(pip install 'lenet-twins[peers]')"
        )
    return "\n\n".join(parts)


if __name__ == "__main__":
    command.run("step", main)
