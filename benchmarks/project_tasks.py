"""The project's own training, as `train.py` runs it, step by step and by the epoch.

NumPy on several cores is several processes, each of which has such a task; torch has threads.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.task import SEED, WARM_UP, EpochTask, StepTask
from training.backends.opening import open_backend
from training.backends.protocol import EpochPlan, Totals
from training.backends.ranks import ALONE, Ranks
from training.config.composition import configuration
from training.config.schema import Config
from training.data import Dataset
from training.data.resize import resize_bilinear
from training.trainer.plan import plan_epoch

# torch reads this when imported: a cache left by an earlier run would hide what compiling costs.
os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"


def compose(backend: str, threads: int, *settings: str) -> Config:
    """Return the configuration of a run on a backend."""
    side = f"backend={backend}", f"backend.threads={threads}"
    return configuration(*side, f"seed={SEED}", *settings)


class ProjectStep(StepTask):
    """Steps of a backend, which counts right answers, too, and always draws the shared masks."""

    def __init__(
        self,
        threads: int,
        network: str,
        backend: str = "numpy",
        settings: Sequence[str] = (),
        **others: Any,
    ) -> None:
        self._side, self._settings = backend, settings
        super().__init__(threads, network, **others)
        self._first = self.seconds("step", 1)

    def place(self) -> None:
        settings = [f"model={self.network}", "optimizer=adam", f"optimizer.lr={self.rate}"]
        settings += [f"trainer.batch_size={self.batch}", "device=cpu", *self._settings]
        self._config = compose(self._side, self.threads, *settings)
        arrays = self.train_images, self.train_labels, self.test_images, self.test_labels
        self._dataset = Dataset("mnist", *arrays, source="synthetic images")
        edges = np.arange(0, len(self.order) + 1, self.batch)
        self._plan = EpochPlan(self.order[: edges[-1]], edges, None, first_step=0)

    def start(self, nudge: int) -> None:
        self._backend = open_backend(self._config, self.ranks)
        self._backend.place(self._dataset)
        start = {f"model.{name}": array for name, array in self.start_weights(nudge).items()}
        self._backend.load_state(self._backend.state() | start)
        self._backend.begin_epoch(self._plan, Totals())
        self._seen = 0.0

    def step(self, start: int, stop: int) -> None:
        self._backend.train(start // self.batch, stop // self.batch)

    def loss(self, result: None) -> float:
        """Return the mean loss of the steps since it was last asked for."""
        before, self._seen = self._seen, self._backend.totals().loss
        return (self._seen - before) / self.batch

    def test_logits(self, images: int) -> NDArray[np.float32]:
        return self._backend.evaluate()[:images]

    def describe(self) -> dict[str, Any]:
        """Return also how long the first step took, in which torch compiles."""
        return super().describe() | {"first_step_seconds": self._first}


class ProjectEpoch(EpochTask):
    """Epochs of a recipe: images resized once, order and flips drawn anew for each."""

    def __init__(
        self,
        threads: int,
        images: int,
        backend: str,
        recipe: str,
        device: str = "cpu",
        settings: Sequence[str] = (),
        ranks: Ranks = ALONE,
    ) -> None:
        import_module(f"training.backends.{backend}")  # not a part of the start-up
        options = f"experiment={recipe}", f"device={device}", *settings
        self._config = compose(backend, threads, *options)
        super().__init__(threads, images, device, ranks)

    def prepare(self) -> None:
        self._backend = open_backend(self._config, self.ranks)
        images = resize_bilinear(self.images, self._config.model.image_size)
        few = images[:10], self.labels[:10]
        source = "synthetic images"
        self._backend.place(Dataset("mnist", images, self.labels, *few, source=source))
        self._epochs = 0

    def warm_up(self) -> None:
        plan = plan_epoch(self._config, len(self.labels), self._epochs)
        self._backend.begin_epoch(plan, Totals())
        self._backend.train(0, min(WARM_UP, plan.steps))
        for _ in range(WARM_UP):
            self._backend.train(plan.steps - 1, plan.steps)
        self._backend.totals()

    def epoch(self) -> float:
        plan = plan_epoch(self._config, len(self.labels), self._epochs)
        self._epochs += 1
        backend = self._backend
        backend.begin_epoch(plan, Totals())
        for first in range(0, plan.steps, backend.steps_per_call):
            backend.train(first, min(first + backend.steps_per_call, plan.steps))
            if backend.device == "cpu":
                backend.totals()  # the trainer looks at the loss, too
        totals = backend.totals()
        backend.end_epoch()
        return totals.loss / totals.images
