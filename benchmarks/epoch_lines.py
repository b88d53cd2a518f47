"""The loops whose epochs `benchmarks.epoch` times."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness import Implementation, Worker

STOCK = "stock loop"
STOCK_LOOP = "benchmarks.stock_loop:StockLoop"
PROJECT = "benchmarks.epoch_tasks:ProjectLoop"
R1 = "r1_lenet5_tanh"


@dataclass(frozen=True)
class Line:
    """One loop on one device.

    Attributes:
        name: as the table shows it.
        device: "cpu" or "cuda".
        task: "module:Class" of a `benchmarks.epoch_tasks.EpochTask`.
        arguments: of the class, beside threads, images and device.
        package: library whose version matters.
        recipe: the experiment whose network, batch size and optimizer it uses.
        optional: whether the line may fail to start, and is then reported as not measured.
    """

    name: str
    device: str
    task: str
    arguments: dict[str, Any] = field(default_factory=dict)
    package: str = "torch"
    recipe: str = R1
    optional: bool = False

    @property
    def key(self) -> str:
        """Return name and device."""
        return f"{self.name} ({self.device})"

    def start(self, threads: int, images: int) -> Worker:
        """Start the line's process."""
        arguments = {**self.arguments, "images": images, "device": self.device}
        if self.task == PROJECT:
            arguments["recipe"] = self.recipe
        blas: Any = "one" if self.package == "numpy" else "default"
        implementation = Implementation(self.key, self.task, self.package, blas=blas)
        return Worker(implementation, threads, **arguments)


def lines(loaders: int) -> list[Line]:
    """Return every loop there is, measurable here or not."""
    return [*_on_cpu(loaders), *_on_cuda(loaders)]


def _on_cpu(loaders: int) -> list[Line]:
    return [
        Line(STOCK, "cpu", STOCK_LOOP),
        Line(_helped(loaders), "cpu", STOCK_LOOP, {"loaders": loaders}),
        Line("eager", "cpu", PROJECT, _torch(mode="eager")),
        Line("eager, bf16", "cpu", PROJECT, _torch(mode="eager", precision="bf16")),
        Line("compiled", "cpu", PROJECT, _torch(compile=True), optional=True),
        Line("NumPy", "cpu", PROJECT, {"backend": "numpy"}, "numpy"),
    ]


def _on_cuda(loaders: int) -> list[Line]:
    graph = _torch(mode="graph")
    return [
        Line(STOCK, "cuda", STOCK_LOOP),
        Line(_helped(loaders), "cuda", STOCK_LOOP, {"loaders": loaders}),
        Line("eager", "cuda", PROJECT, _torch(mode="eager")),
        Line("compiled", "cuda", PROJECT, _torch(mode="eager", compile=True), optional=True),
        Line("graph", "cuda", PROJECT, graph),
        Line("graph, TF32", "cuda", PROJECT, _torch(mode="graph", precision="tf32")),
        Line("graph, bf16", "cuda", PROJECT, _torch(mode="graph", precision="bf16")),
        Line("graph, compiled", "cuda", PROJECT, _torch(mode="graph", compile=True), optional=True),
        Line("lenet5_relu at 256, graph", "cuda", PROJECT, graph, recipe="r0_lenet5_relu"),
        Line("deepcnn21 at 500, graph", "cuda", PROJECT, graph, recipe="r2_deepcnn21"),
    ]


def _helped(loaders: int) -> str:
    return f"{STOCK}, {loaders} loader process{'es' if loaders > 1 else ''}"


def _torch(**options: Any) -> dict[str, Any]:
    return {"backend": "torch", "options": options}


def obstacle(line: Line) -> str | None:
    """Return why a line cannot be measured here, or None."""
    import torch

    if line.device == "cuda" and not torch.cuda.is_available():
        return "not measured here: no CUDA device"
    return None
