"""What a worker holds: something that can be run and timed, and the training step's common part."""

from __future__ import annotations

import gc
from abc import ABC, abstractmethod
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

import numpy_models
from benchmarks.cases import CASES, EVALUATION_BATCH, TEST_IMAGES, TRAIN_IMAGES
from training.backends.initialisation import Weights, initial_weights
from training.backends.protocol import pixel_scale
from training.backends.ranks import ALONE, Ranks
from training.backends.streams import stream
from training.config.schema import InitConfig
from training.environment import blas

SEED = 0
#: 16 times float32's machine epsilon, 2^-23: the rounding error of a sum of some 256 terms, √n·ε.
NUDGE = 2.0**-19
#: Test images on which evaluation mode is compared.
COMPARED = 2000
#: Share of random labels: it keeps the loss, and with it every gradient, from vanishing in long
#: runs, where denormal numbers would be timed instead.
WRONG_LABELS = 0.1
#: Steps of an epoch's warming up with full batches, and with the last, shorter one: enough for a
#: CUDA graph of each to be recorded.
WARM_UP = 5


def make_data(size: int, count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return synthetic images that can be learnt: a coarse pattern per class, under noise.

    Returns:
        Images uint8 (count, size, size) and labels int64 (count,), 0 to 9.
    """
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 192, (10, size // 4, size // 4), np.uint8)
    patterns = coarse.repeat(4, axis=1).repeat(4, axis=2)
    shown = generator.integers(0, 10, count)
    images = patterns[shown]
    images += generator.integers(0, 64, images.shape, np.uint8)
    wrong = generator.random(count) < WRONG_LABELS
    labels = np.where(wrong, generator.integers(0, 10, count), shown)
    return images, labels


class Task(ABC):
    """Something to time, in one or more kinds of run, on threads or on ranks (processes)."""

    def __init__(self, threads: int, ranks: Ranks = ALONE) -> None:
        self.threads, self.ranks = threads, ranks

    @abstractmethod
    def run(self, kind: str, count: int) -> None:
        """Do `count` runs of a kind, and wait until they are done."""

    def seconds(self, kind: str, count: int) -> float:
        """Return the mean time of `count` runs, in seconds."""
        gc.collect()
        self.ranks.barrier()
        started = perf_counter()
        self.run(kind, count)
        return (perf_counter() - started) / count

    def describe(self) -> dict[str, Any]:
        """Return what this process computes with, for the record."""
        return {"threads": self.threads, "processes": self.ranks.world, "blas": blas()}


class StepTask(Task):
    """Training steps of a network with Adam, and its inference; kinds "step" and "inference".

    The network is one of `benchmarks.cases.CASES`, whose batch is taken by default.
    """

    def __init__(
        self,
        threads: int,
        network: str,
        batch: int | None = None,
        rate: float = 1e-3,
        images: int = TRAIN_IMAGES,
        test_images: int = TEST_IMAGES,
        ranks: Ranks = ALONE,
    ) -> None:
        super().__init__(threads, ranks)
        case = CASES[network]
        self.network, self.rate, self.batch = network, rate, batch or case.batch
        self.position = 0
        self.scale, self.shift = pixel_scale("standard")
        data = make_data(case.image_size, images + test_images, SEED)
        self.train_images, self.test_images = data[0][:images], data[0][images:]
        self.train_labels, self.test_labels = data[1][:images], data[1][images:]
        self.order = stream(SEED, "order").permutation(images)
        self.place()
        self.start(0)

    @abstractmethod
    def place(self) -> None:
        """Bring the data to where steps read them."""

    @abstractmethod
    def start(self, nudge: int) -> None:
        """Make network and optimizer as new, with `start_weights(..., nudge)`."""

    @abstractmethod
    def step(self, start: int, stop: int) -> Any:
        """Take a training step on the images order[start:stop]; return its loss, or nothing."""

    @abstractmethod
    def test_logits(self, images: int) -> Any:
        """Return the first test images' logits (images, 10), in evaluation mode."""

    def share_masks(self, step: int | None) -> None:
        """Let dropout draw the masks that everyone has at this step; None: its own again."""

    def loss(self, result: Any) -> float:
        """Return the loss of the step that has returned this."""
        return float(result)

    def finish(self, result: Any) -> None:
        """Wait until the result of the last run is there."""

    def losses(self, steps: int, nudge: int = 0) -> list[float]:
        """Start anew; return the loss of each training step, and then of some test images.

        Dropout masks are those that all implementations share.
        """
        self.start(nudge)
        self.position = 0
        losses = []
        for step in range(steps):
            self.share_masks(step)
            losses.append(self.loss(self.step(*self._next())))
        self.share_masks(None)
        return [*losses, self._test_loss()]

    def run(self, kind: str, count: int) -> None:
        """Run training steps, or passes over all test images."""
        result, every = None, len(self.test_images)
        for _ in range(count):
            result = self.step(*self._next()) if kind == "step" else self.test_logits(every)
        self.finish(result)

    def start_weights(self, nudge: int) -> Weights:
        """Return the weights that every implementation starts from.

        With a nudge other than 0 each is off by a factor 1 ± NUDGE, the signs drawn from it.
        """
        parameters = numpy_models.build(self.network).parameters()
        shapes = {name: array.shape for name, array in parameters.items()}
        weights = initial_weights(shapes, InitConfig("he"), SEED)
        if nudge:
            for name, array in weights.items():
                signs = stream(nudge, f"nudge {name}").choice((-1, 1), array.shape)
                array *= (1 + NUDGE * signs).astype(np.float32)
        return weights

    def test_slices(self, images: int) -> list[slice]:
        """Return the batches of an inference pass."""
        starts = range(0, images, EVALUATION_BATCH)
        return [slice(i, min(i + EVALUATION_BATCH, images)) for i in starts]

    def _test_loss(self) -> float:
        count = min(COMPARED, len(self.test_images))
        logits = np.asarray(self.test_logits(count), np.float64)
        shifted = logits - logits.max(axis=1, keepdims=True)
        chosen = shifted[np.arange(count), self.test_labels[:count]]
        return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - chosen))

    def _next(self) -> tuple[int, int]:
        start = self.position
        if start + self.batch > len(self.order):
            start = 0
        self.position = start + self.batch
        return start, self.position


class EpochTask(Task):
    """Kind "epoch", of so many training images."""

    def __init__(self, threads: int, images: int, device: str, ranks: Ranks = ALONE) -> None:
        super().__init__(threads, ranks)
        self.device, self._losses = device, list[float]()
        self.images, self.labels = make_data(28, images, SEED)
        started = perf_counter()
        self.prepare()
        self.warm_up()
        self._start_up = perf_counter() - started

    @abstractmethod
    def prepare(self) -> None:
        """Build network, optimizer and data."""

    @abstractmethod
    def warm_up(self) -> None:
        """Take first steps of both batch sizes, and wait for them."""

    @abstractmethod
    def epoch(self) -> float:
        """Train on all images; return the mean loss."""

    def run(self, kind: str, count: int) -> None:
        """Train for whole epochs."""
        self._losses += [self.epoch() for _ in range(count)]

    def outcome(self) -> dict[str, float]:
        """Return the seconds from having the arrays to full speed, and the first epoch's loss."""
        return {"start_up": self._start_up, "mean_loss": self._losses[0]}
