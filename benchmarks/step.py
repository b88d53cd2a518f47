"""Time of a training step and of inference: NumPy, PyTorch eager, and other libraries.

A step is the gather of a batch of uint8 images held in memory, their scaling, forward, loss,
backward and Adam, in float32 at the report's batch size; inference is a forward pass over 10,000
images. NumPy is the project's own training, with a process for each core. PyTorch is timed twice:
as it is, and with glibc told to keep freed memory instead of giving large blocks back to the system
at every step; with --compiled a third time, as `train.py backend.compile=true` trains. Images are
synthetic. Import, data, warm-up and compilation are not counted. Times are given only after the
losses of 20 steps, with shared dropout masks, have been found to agree.

    python -m benchmarks.step --json step.json
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from typing import Any

from benchmarks import command
from benchmarks.agreement import STEPS, check_losses
from benchmarks.cases import CASES, TRAIN_IMAGES
from benchmarks.harness import Implementation, measure, samples, start_workers

PROJECT = "benchmarks.project_tasks:ProjectStep"
NUMPY = Implementation("numpy", PROJECT, "numpy", processes=True)
TORCH = Implementation("torch", "benchmarks.torch_tasks:TorchStep", "torch")
KEPT = Implementation("torch-kept", TORCH.target, "torch", keeps_memory=True)
TWINS = (NUMPY, TORCH, KEPT)
COMPILED = Implementation(
    "torch-compiled",
    PROJECT,
    "torch",
    arguments={"backend": "torch", "settings": ["backend.compile=true"]},
    keeps_memory=True,
    optional=True,
)
PEERS = {
    "mygrad": Implementation(
        "mygrad", "benchmarks.peers.mygrad_lenet5:MyGradStep", "mygrad", blas_on_all=True
    ),
    "jax": Implementation("jax", "benchmarks.peers.jax_lenet5:JaxStep", "jax", pinned=True),
}
PEER_NETWORK = "lenet5_relu"


def main() -> None:
    """Measure and report as the command line says."""
    options = _parser().parse_args()
    peers = [name for name in options.peers if PEERS[name].installed]
    packages = "numpy", "torch", *(PEERS[name].package for name in peers)
    settings = {
        "rounds": options.rounds,
        "seconds_per_measurement": options.seconds,
        "optimizer": "Adam on every side, lr 0.001 (torch: fused)",
        "data": f"{TRAIN_IMAGES} synthetic uint8 images in memory, random order",
        "loss_check_steps": STEPS,
        "numpy": "a process per core",
    }
    absent = "not installed (pip install 'lenet-twins[peers]')"
    timed = [*TWINS, COMPILED] if options.compiled else [*TWINS]
    with command.measurement("step", options, *packages, **settings) as content:
        content |= {"results": [], "loss_checks": [], "processes": []}
        content["not_measured"] = {name: absent for name in options.peers if name not in peers}
        for network in options.networks:
            beside = [PEERS[name] for name in peers] if network == PEER_NETWORK else []
            for threads in sorted(set(options.threads)):
                _case(network, threads, timed + beside, options, content)
        blas = content["processes"][0]["processes"]["numpy"]["blas"]
        words = f"{blas.get('library')}, {blas.get('kernels')} kernels"
        content["environment"]["blas"] = words


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("step", __doc__, rounds=9, seconds=0.25)
    parser.add_argument("--networks", nargs="+", choices=CASES, default=list(CASES), metavar="NAME")
    parser.add_argument(
        "--threads",
        nargs="+",
        type=command.threads,
        default=[1, command.threads("all")],
        metavar="N",
        help="numbers of threads, NumPy's of processes, or all (default: 1 all)",
    )
    parser.add_argument("--compiled", action="store_true", help="time torch.compile, too")
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
    network: str,
    threads: int,
    implementations: list[Implementation],
    options: argparse.Namespace,
    content: dict[str, Any],
) -> None:
    """Check and measure one network on so many cores, in processes of its own."""
    name = f"{network}, {threads} thread{'s' if threads > 1 else ''}"
    place = {"network": network, "threads": threads}
    with ExitStack() as stack:
        command.announce(f"{name}: starting, and comparing losses")
        absent = content["not_measured"]
        workers = start_workers(stack, implementations, threads, absent, network=network)
        shares = check_losses(workers, TORCH.name, name)
        content["loss_checks"].append(place | {"share_of_tolerance": shares})
        command.announce(f"{name}: timing")
        twins = {one.name: workers[one.name] for one in TWINS}
        for kind, timed, lasting in (
            ("step", workers, options.seconds),
            ("inference", twins, None),
        ):
            seconds = samples(measure(timed, kind, options.rounds, lasting))
            result = {"kind": kind, **place, "batch": CASES[network].batch, "seconds": seconds}
            content["results"].append(result)
        described = {name: worker.call("describe") for name, worker in workers.items()}
        content["processes"].append(place | {"processes": described})


if __name__ == "__main__":
    command.run("step", main)
