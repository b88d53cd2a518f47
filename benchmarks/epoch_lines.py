"""The loops whose epochs `benchmarks.epoch` times."""

from __future__ import annotations

from typing import Any, NamedTuple

from benchmarks.harness import Implementation, Worker

STOCK = "stock loop"
R1 = "r1_lenet5_tanh"
STOCK_LOOP = "benchmarks.stock_loop:StockLoop"
PROJECT = "benchmarks.project_tasks:ProjectEpoch"


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

    @property
    def recipe(self) -> str:
        """Return the experiment whose network, batch size and optimizer it uses."""
        return self.arguments.get("recipe", R1)

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
    cpu = [
        ("eager", _torch(recipe, "mode=eager"), False),
        ("eager, bf16", _torch(recipe, "mode=eager", "precision=bf16"), False),
        ("compiled", _torch(recipe, "compile=true"), True),
        ("NumPy", {"backend": "numpy", "recipe": recipe}, False),
    ]
    cuda = [
        ("eager", _torch(recipe, "mode=eager"), False),
        ("compiled", _torch(recipe, "mode=eager", "compile=true"), True),
        ("graph", _torch(recipe, "mode=graph"), False),
        ("graph, TF32", _torch(recipe, "mode=graph", "precision=tf32"), False),
        ("graph, bf16", _torch(recipe, "mode=graph", "precision=bf16"), False),
        ("graph, compiled", _torch(recipe, "mode=graph", "compile=true"), True),
    ]
    found = []
    for device, loops in (("cpu", cpu), ("cuda", cuda)):
        if recipe == R1:
            helped = f"{STOCK}, {loaders} loader process{'es' if loaders > 1 else ''}"
            found.append(Line(STOCK, device, STOCK_LOOP, {}))
            found.append(Line(helped, device, STOCK_LOOP, {"loaders": loaders}))
        found += [Line(name, device, PROJECT, *rest) for name, *rest in loops]
    return found


def _torch(recipe: str, *settings: str) -> dict[str, Any]:
    return {
        "backend": "torch",
        "recipe": recipe,
        "settings": [f"backend.{setting}" for setting in settings],
    }
