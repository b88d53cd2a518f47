"""The loops whose epochs `benchmarks.epoch` times."""

from __future__ import annotations

from typing import Any, NamedTuple

from benchmarks.harness import Implementation, Worker

STOCK = "stock loop"
R1 = "r1_lenet5_tanh"
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


class Line(NamedTuple):
    """One loop on one device.

    Attributes:
        name: as the table shows it.
        device: "cpu" or "cuda".
        task: "module:Class" of a `benchmarks.task.EpochTask`.
        arguments: of the class, beside threads, images and device.
        optional: whether the line may fail to start, and is then reported as not measured.
    """

    name: str
    device: str
    task: str
    arguments: dict[str, Any]
    optional: bool = False

    @property
    def key(self) -> str:
        """Return name and device."""
        return f"{self.name} ({self.device})"

    def start(self, threads: int, images: int) -> Worker:
        """Start the line's process."""
        numpy = self.arguments.get("backend") == "numpy"
        one = Implementation(
            self.key,
            self.task,
            "numpy" if numpy else "torch",
            blas="one" if numpy else "default",
            arguments=self.arguments,
            processes=numpy,
        )
        return Worker(one, threads, images=images, device=self.device)


def lines(recipe: str, loaders: int) -> list[Line]:
    """Return every loop there is for a recipe, measurable here or not; R1 has the stock loop."""
    found = []
    for device, loops in LOOPS.items():
        if recipe == R1:
            helped = f"{STOCK}, {loaders} loader process{'es' if loaders > 1 else ''}"
            found.append(Line(STOCK, device, STOCK_LOOP, {}))
            found.append(Line(helped, device, STOCK_LOOP, {"loaders": loaders}))
        for name, settings in loops.items():
            arguments = {"backend": "torch", "recipe": recipe, "settings": settings}
            found.append(Line(name, device, PROJECT, arguments, COMPILE in settings))
        if device == "cpu":
            found.append(Line("NumPy", device, PROJECT, {"backend": "numpy", "recipe": recipe}))
    return found
