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

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from benchmarks import command, harness
from benchmarks.cases import TRAIN_IMAGES
from benchmarks.harness import ROOT, BenchmarkError, Implementation, samples, start_workers

RECIPES = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))
R1 = "r1_lenet5_tanh"
STOCK = "stock loop"
STOCK_LOOP = "benchmarks.stock_loop:StockLoop"
PROJECT = "benchmarks.project_tasks:ProjectEpoch"
EAGER, GRAPH = "backend.mode=eager", "backend.mode=graph"
COMPILE = "backend.compile=true"
TF32, BF16 = "backend.precision=tf32", "backend.precision=bf16"
#: The torch twin's loops on each device, with their settings.
LOOPS = {
    "cpu": {"eager": [EAGER], "eager, bf16": [EAGER, BF16], "compiled": [COMPILE]},
    "cuda": {
        "eager": [EAGER],
        "compiled": [EAGER, COMPILE],
        "graph": [GRAPH],
        "graph, TF32": [GRAPH, TF32],
        "graph, bf16": [GRAPH, BF16],
        "graph, compiled": [GRAPH, COMPILE],
    },
}
PRECISIONS = {"cpu": ("float32", "bf16"), "cuda": ("float32", "tf32", "bf16")}
#: Order and flips differ between the stock loop and the project's; mean losses hardly do.
LOSS_ERROR = 0.02
NO_CUDA = "not measured here: no CUDA device"


def main() -> None:
    """Measure and report as the command line says."""
    parser = command.parser("epoch", __doc__, rounds=5)
    parser.add_argument("--recipe", choices=RECIPES, default=R1, metavar="NAME")
    parser.add_argument("--threads", type=command.threads, default="all", metavar="N")
    parser.add_argument("--images", type=command.positive, default=TRAIN_IMAGES, metavar="N")
    parser.add_argument("--device", choices=("all", *LOOPS), default="all")
    options = parser.parse_args()
    devices = list(LOOPS) if options.device == "all" else [options.device]
    chosen = [loop for d in devices for loop in loops(options.recipe, d)]
    names = ("recipe", "rounds", "threads", "images")
    settings = {name: getattr(options, name) for name in names} | {"numpy": "a process per core"}
    packages = "torch", "torchvision", "numpy"
    with command.measurement("epoch", options, *packages, **settings) as content:
        cuda = content["environment"]["cuda"] = cuda_device()
        present = [loop for loop in chosen if cuda or loop.arguments["device"] == "cpu"]
        if not present:
            raise BenchmarkError("nothing can be measured here: there is no CUDA device")
        absent = [loop.name for loop in chosen if loop not in present]
        lacking = content["not_measured"] = dict.fromkeys(absent, NO_CUDA)
        size = options.rounds, options.threads, options.images
        content["results"] = measure(present, *size, lacking)
        content["parity"] = judge_precisions(devices)


def loops(recipe: str, device: str) -> list[Implementation]:
    """Return every loop there is for a recipe on a device, measurable here or not.

    R1 has the stock loop, once with loader processes of its own.
    """
    place = {"device": device}
    project = {"backend": "torch", "recipe": recipe, **place}
    found = []
    if recipe == R1:
        for name, loaders in ((STOCK, 0), (f"{STOCK}, 2 loader processes", 2)):
            stock = {"loaders": loaders, **place}
            found.append(Implementation(f"{name} ({device})", STOCK_LOOP, "torch", stock))
    for name, settings in LOOPS[device].items():
        how = {**project, "settings": settings}
        found.append(Implementation(f"{name} ({device})", PROJECT, "torch", how, optional=True))
    if device == "cpu":
        numpy = {**project, "backend": "numpy"}
        found.append(Implementation("NumPy (cpu)", PROJECT, "numpy", numpy, processes=True))
    return found


def measure(
    chosen: Sequence[Implementation],
    rounds: int,
    threads: int,
    images: int,
    absent: dict[str, str],
) -> list[dict[str, Any]]:
    """Return the measured loops; the reasons why others have no times go to `absent`.

    Raises:
        BenchmarkError: if the stock loop or NumPy does not work, or a loop fails on the way.
    """
    command.announce("starting, compiling and warming up")
    with ExitStack() as stack:
        workers = start_workers(stack, chosen, threads, absent, images=images)
        command.announce("timing")
        seconds = samples(harness.measure(workers, "epoch", rounds, seconds=None))
        told = {name: worker.call("outcome") for name, worker in workers.items()}
    absent |= deviations({name: outcome["mean_loss"] for name, outcome in told.items()})
    results = []
    for loop in chosen:
        if loop.name not in absent:
            device = loop.arguments["device"]
            place = {"line": loop.name.removesuffix(f" ({device})"), "device": device}
            results.append(place | {"seconds": seconds[loop.name]} | told[loop.name])
    return results


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


def deviations(losses: dict[str, float]) -> dict[str, str]:
    """Return what is wrong with the loops whose first epoch's mean loss is not the first loop's."""
    first, expected = next(iter(losses.items()))
    return {
        name: f"not timed: the first epoch's mean loss is {loss:.4f}, {first}'s {expected:.4f}"
        for name, loss in losses.items()
        if not abs(loss - expected) <= LOSS_ERROR * expected
    }


if __name__ == "__main__":
    command.run("epoch", main)
