"""What a worker holds: something that can be run and timed, and the training step's common part."""

from __future__ import annotations

import gc
from abc import ABC, abstractmethod
from time import perf_counter
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from benchmarks.cases import CASES, EVALUATION_BATCH, TEST_IMAGES, TRAIN_IMAGES, make_data
from training.backends.initialisation import Weights, initial_weights
from training.backends.protocol import pixel_scale
from training.backends.streams import stream
from training.config.schema import InitConfig

SEED = 0
#: 16 times float32's machine epsilon, 2^-23: the rounding error of a sum of some 256 terms, √n·ε.
NUDGE = 2.0**-19
#: Test images on which evaluation mode is compared.
COMPARED = 2000


class Task(ABC):
    """Something to time, in one or more kinds of run."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    @abstractmethod
    def run(self, kind: str, count: int) -> None:
        """Do `count` runs of a kind, and wait until they are done."""

    def calibrate(self, kind: str, seconds: float) -> int:
        """Warm up for at least that long; return how many runs then last about as long."""
        self.run(kind, 1)
        spent, count = 0.0, 0
        while spent < seconds:
            spent += self.seconds(kind, 1)
            count += 1
        return count

    def seconds(self, kind: str, count: int) -> float:
        """Return the mean time of `count` runs, in seconds."""
        gc.collect()
        started = perf_counter()
        self.run(kind, count)
        return (perf_counter() - started) / count

    def describe(self) -> dict[str, Any]:
        """Return what this process computes with, for the record."""
        pools = [
            {
                key: pool.get(key)
                for key in ("internal_api", "version", "architecture", "num_threads")
            }
            for pool in threadpool_info()
        ]
        return {"threads": self.threads, "thread_pools": pools}


class StepTask(Task):
    """Training steps of a network with Adam, and its inference; kinds "step" and "inference".

    Args:
        threads: threads to use.
        network: a name of `benchmarks.cases.CASES`.
        batch: images per step; by default the case's.
        rate: Adam's learning rate.
        images: how many training images there are.
    """

    def __init__(
        self,
        threads: int,
        network: str,
        batch: int | None = None,
        rate: float = 1e-3,
        images: int = TRAIN_IMAGES,
        test_images: int = TEST_IMAGES,
    ) -> None:
        super().__init__(threads)
        case = CASES[network]
        self.network, self.rate = network, rate
        self.scale, self.shift = pixel_scale("standard")
        data = make_data(case.image_size, images + test_images, SEED)
        self.train_images, self.test_images = data[0][:images], data[0][images:]
        self.train_labels, self.test_labels = data[1][:images], data[1][images:]
        self.order = stream(SEED, "order").permutation(images)
        self.use_batch(batch or case.batch)
        self.place()
        self.start(0)

    def use_batch(self, batch: int) -> None:
        """Take batches of this size from here on."""
        self.batch, self.position = batch, 0

    @abstractmethod
    def place(self) -> None:
        """Bring the data to where steps read them."""

    @abstractmethod
    def start(self, nudge: int) -> None:
        """Build network and optimizer anew, with `start_weights(..., nudge)`."""

    @abstractmethod
    def step(self, start: int, stop: int) -> Any:
        """Take a training step on the images order[start:stop]; return its loss."""

    @abstractmethod
    def share_masks(self, step: int | None) -> None:
        """Let dropout draw the masks that everyone has at this step; None: its own again."""

    @abstractmethod
    def test_logits(self, images: int) -> Any:
        """Return the first test images' logits (images, 10), in evaluation mode."""

    @abstractmethod
    def finish(self, results: Any) -> None:
        """Wait until the results of the last run are there."""

    def losses(self, steps: int, nudge: int = 0) -> list[float]:
        """Start anew; return the loss of each training step, and then of some test images.

        Dropout masks are those that all implementations share.
        """
        self.start(nudge)
        self.position = 0
        losses = []
        for step in range(steps):
            self.share_masks(step)
            losses.append(float(self.step(*self._next())))
        self.share_masks(None)
        return [*losses, self._test_loss()]

    def run(self, kind: str, count: int) -> None:
        """Run training steps, or passes over all test images."""
        result, every = None, len(self.test_images)
        for _ in range(count):
            result = self.step(*self._next()) if kind == "step" else self.test_logits(every)
        self.finish(result)

    def start_weights(self, shapes: dict[str, tuple[int, ...]], nudge: int) -> Weights:
        """Return the weights that every implementation starts from.

        With a nudge other than 0 each is off by a factor 1 ± NUDGE, the signs drawn from it.
        """
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


class ConvolutionTask(Task):
    """One convolution forward and backward, kind "run"; `use` says which."""

    def use(self, channels: int, size: int, kernel: int, batch: int) -> None:
        """Take a layer with equal channels in and out that keeps the image's size."""
        generator = stream(SEED, "convolution")
        self.channels, self.kernel = channels, kernel
        shape = (batch, channels, size, size)
        self.weight = generator.standard_normal((channels, channels, kernel, kernel), np.float32)
        self.bias = generator.standard_normal(channels, np.float32)
        self.x = generator.standard_normal(shape, np.float32)
        self.dy = generator.standard_normal(shape, np.float32)
        self.place()

    @abstractmethod
    def place(self) -> None:
        """Build the layer from `weight`, `bias`, `x` and the output's gradient `dy`."""

    @abstractmethod
    def results(self) -> list[Any]:
        """Return the output and the gradients of input, weight and bias, of one run."""

    def cosines(self) -> list[float]:
        """Return the cosines of the angles between the results and fixed random directions."""
        generator = stream(SEED, "directions")
        found = []
        for result in self.results():
            values = np.asarray(result, np.float64).ravel()
            direction = generator.standard_normal(values.size)
            scale = np.linalg.norm(values) * np.linalg.norm(direction)
            found.append(float(values @ direction / scale))
        return found
