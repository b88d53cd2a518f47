"""Epochs of R1's recipe (lenet5_tanh, batch 128) in the project's own loop."""

from __future__ import annotations

import os
from abc import abstractmethod
from importlib import import_module
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases import CASES, make_data
from benchmarks.task import SEED, Task
from training.backends.opening import open_backend
from training.backends.protocol import EpochPlan, Totals
from training.backends.ranks import ALONE
from training.config.composition import configuration
from training.config.schema import Config
from training.data import Dataset
from training.data.resize import resize_bilinear
from training.trainer.plan import plan_epoch

RECIPE = "r1_lenet5_tanh"
NETWORK = "lenet5_tanh"
RATE, FLIP = 1e-5, 0.5
BATCH, SIZE = CASES[NETWORK]
#: Steps of the warming up with full batches, and with the epoch's last, shorter one: enough for a
#: CUDA graph of each to be recorded.
WARM_UP = 5


class EpochTask(Task):
    """Kind "epoch"; after it, `mean_loss` is that of the last epoch.

    Args:
        threads: threads to use.
        images: how many training images an epoch has.
        device: "cpu" or "cuda".
    """

    def __init__(self, threads: int, images: int, device: str = "cpu") -> None:
        super().__init__(threads)
        self.device = device
        self.images, self.labels = make_data(28, images, SEED)
        self.loss = float("nan")
        started = perf_counter()
        self.prepare()
        self.prepared = perf_counter() - started

    @abstractmethod
    def prepare(self) -> None:
        """Build network, optimizer and data."""

    @abstractmethod
    def warm_up(self) -> None:
        """Take first steps of both batch sizes, and wait for them."""

    @abstractmethod
    def epoch(self) -> float:
        """Train on all images; return the mean loss."""

    def start_up(self) -> float:
        """Warm up; return the seconds since the arrays came."""
        started = perf_counter()
        self.warm_up()
        return self.prepared + perf_counter() - started

    def run(self, kind: str, count: int) -> None:
        """Train for whole epochs."""
        for _ in range(count):
            self.loss = self.epoch()

    def mean_loss(self) -> float:
        """Return the mean loss of the last epoch."""
        return self.loss


class ProjectLoop(EpochTask):
    """training's own loop: images resident and resized once, order and flips drawn by epoch.

    Args:
        recipe: the experiment.
        backend: "torch" or "numpy".
        options: of the backend, beside its threads.
    """

    def __init__(
        self,
        threads: int,
        images: int,
        backend: str,
        device: str = "cpu",
        recipe: str = RECIPE,
        options: dict[str, Any] | None = None,
    ) -> None:
        # torch reads this when imported: a cache left by an earlier run would hide the cost.
        os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"
        import_module(f"training.backends.{backend}")  # not a part of the start-up
        settings = {"threads": threads, **(options or {})}
        self._config = compose(recipe, backend, device, settings)
        super().__init__(threads, images, device)

    def prepare(self) -> None:
        """Resize the images, and let the backend take them over."""
        self._backend = open_backend(self._config, ALONE)
        self._backend.place(dataset(self.images, self.labels, self._config))
        self._epochs = 0

    def warm_up(self) -> None:
        """Take the first steps of an epoch, and its last one several times."""
        plan = plan_epoch(self._config, len(self.labels), self._epochs)
        self._backend.begin_epoch(plan, Totals())
        for first, last in warm_up_steps(plan):
            self._backend.train(first, last)
        self._backend.totals()

    def epoch(self) -> float:
        """Train on all images; return the mean loss."""
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


def warm_up_steps(plan: EpochPlan) -> list[tuple[int, int]]:
    """Return the first and last step of each call of a warming up."""
    return [(0, min(WARM_UP, plan.steps)), *[(plan.steps - 1, plan.steps)] * WARM_UP]


def compose(recipe: str, backend: str, device: str, settings: dict[str, Any]) -> Config:
    """Return an experiment's configuration on a backend with these settings."""
    options = [f"backend.{key}={value}" for key, value in settings.items()]
    choices = [f"experiment={recipe}", f"backend={backend}", f"device={device}"]
    return configuration(*choices, *options, f"seed={SEED}")


def dataset(images: NDArray[np.uint8], labels: NDArray[np.int64], config: Config) -> Dataset:
    """Return them as training images of the size that the network takes."""
    resized = resize_bilinear(images, config.model.image_size)
    few = resized[:10], labels[:10]
    return Dataset("mnist", resized, labels, *few, source="synthetic images")
