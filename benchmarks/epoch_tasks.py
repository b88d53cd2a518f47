"""Epochs of R1's recipe (lenet5_tanh, batch 128) in the project's own loop."""

from __future__ import annotations

import os
from abc import abstractmethod
from importlib import import_module
from time import perf_counter
from typing import Any

from benchmarks.cases import CASES, make_data
from benchmarks.task import SEED, Task
from training.backend import open_backend
from training.config import (
    AdamConfig,
    Config,
    DataConfig,
    InitConfig,
    ModelConfig,
    NumpyBackendConfig,
    StepSchedulerConfig,
    TorchBackendConfig,
    TrainerConfig,
)
from training.data import Dataset
from training.data.resize import resize_bilinear
from training.loop import Progress, plan_epoch, train_epoch

NETWORK = "lenet5_tanh"
RATE, FLIP = 1e-5, 0.5
BATCH, SIZE = CASES[NETWORK]
#: Full batches of the warming up, which is followed by one of the epoch's last, shorter size.
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
    def epoch(self, images: int) -> float:
        """Train on the first images; return the mean loss."""

    def start_up(self) -> float:
        """Take the first steps, of both batch sizes; return the seconds since the arrays came."""
        started = perf_counter()
        count = len(self.labels)
        self.epoch(min(WARM_UP * BATCH + count % BATCH, count))
        return self.prepared + perf_counter() - started

    def run(self, kind: str, count: int) -> None:
        """Train for whole epochs."""
        for _ in range(count):
            self.loss = self.epoch(len(self.labels))

    def mean_loss(self) -> float:
        """Return the mean loss of the last epoch."""
        return self.loss


class ProjectLoop(EpochTask):
    """training's own loop: images resident and resized once, order and flips drawn by epoch."""

    def __init__(
        self,
        threads: int,
        images: int,
        backend: str,
        device: str = "cpu",
        options: dict[str, Any] | None = None,
    ) -> None:
        # torch reads this when imported: a cache left by an earlier run would hide the cost.
        os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"
        import_module(f"training.{backend}_backend")  # not a part of the start-up
        kind = {"numpy": NumpyBackendConfig, "torch": TorchBackendConfig}[backend]
        self._config = Config(
            seed=SEED,
            device=device,
            model=ModelConfig(NETWORK, SIZE, {}),
            backend=kind(threads=threads, **(options or {})),
            data=DataConfig("mnist", scaling="unit", flip=FLIP),
            optimizer=AdamConfig(lr=RATE),
            scheduler=StepSchedulerConfig(),
            init=InitConfig("torch"),
            trainer=TrainerConfig(epochs=1, batch_size=BATCH),
        )
        super().__init__(threads, images, device)

    def prepare(self) -> None:
        """Resize the images, and let the backend take them over."""
        resized = resize_bilinear(self.images, SIZE)
        few = resized[:10], self.labels[:10]
        dataset = Dataset("mnist", resized, self.labels, *few, source="synthetic images")
        self._backend = open_backend(self._config)
        self._backend.place(dataset)
        self._epochs = 0

    def epoch(self, images: int) -> float:
        """Train on the first images; return the mean loss."""
        plan = plan_epoch(self._config, images, self._epochs)
        self._epochs += 1
        progress = Progress()
        train_epoch(self._backend, plan, progress, lambda _: None)
        self._backend.end_epoch()
        return progress.totals.loss / progress.totals.images
