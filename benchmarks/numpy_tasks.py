"""What is timed of the NumPy side."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import numpy_models
from benchmarks.task import SEED, ConvolutionTask, StepTask, Task
from numpy_models import Conv2d
from training.backends.streams import stream
from training.environment import keep_freed_memory


class NumpyStep(StepTask):
    """A network of numpy_models, on one thread."""

    def place(self) -> None:
        """Use the arrays as they are; keep freed memory, as in training."""
        keep_freed_memory()

    def start(self, nudge: int) -> None:
        """Build network and optimizer anew."""
        self._net = numpy_models.build(self.network)
        parameters = self._net.parameters()
        start = self.start_weights({name: array.shape for name, array in parameters.items()}, nudge)
        for name, array in parameters.items():
            array[...] = start[name]
        self._criterion = numpy_models.CrossEntropyLoss()
        self._optimizer = numpy_models.Adam(self._net, self.rate)

    def step(self, start: int, stop: int) -> float:
        """Take a training step; return its loss."""
        indices = self.order[start:stop]
        images = self._input(self.train_images[indices])
        loss, _ = numpy_models.loss_and_gradients(
            self._net, self._criterion, images, self.train_labels[indices]
        )
        self._optimizer.step()
        return loss

    def share_masks(self, step: int | None) -> None:
        """Set every dropout layer's `draw`."""
        draw = None if step is None else partial(_uniforms, stream(SEED, "dropout", step))
        for layer in self._net.leaves().values():
            if isinstance(layer, numpy_models.Dropout):
                layer.draw = draw

    def test_logits(self, images: int) -> NDArray[np.float32]:
        """Return the first test images' logits."""
        slices = self.test_slices(images)
        return np.concatenate(
            [numpy_models.outputs(self._net, self._input(self.test_images[s])) for s in slices]
        )

    def finish(self, results: Any) -> None:
        """Nothing is pending."""

    def _input(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        scaled = np.multiply(images[:, None], self.scale, dtype=np.float32)
        scaled += self.shift
        return scaled


def _uniforms(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return generator.random(shape, np.float32)


class NumpyConvolution(ConvolutionTask):
    """A layer of numpy_models alone, its public arrays batch first."""

    def place(self) -> None:
        """Build the layer."""
        self._layer = Conv2d(self.channels, self.channels, self.kernel, padding=self.kernel // 2)
        self._layer.load_state_dict({"weight": self.weight, "bias": self.bias})

    def run(self, kind: str, count: int) -> None:
        """Run forward, then backward for input, weight and bias."""
        for _ in range(count):
            self._layer.forward(self.x)
            self._layer.backward(self.dy)

    def results(self) -> list[NDArray[np.float32]]:
        """Return the output and the gradients."""
        y = self._layer.forward(self.x)
        dx = self._layer.backward(self.dy)
        assert dx is not None
        return [y, dx, *self._layer.gradients().values()]


class NumpyProduct(Task):
    """A product of two square float32 matrices, kind "run"."""

    def __init__(self, threads: int, size: int) -> None:
        super().__init__(threads)
        generator = np.random.default_rng(SEED)
        self._a, self._b = (generator.standard_normal((size, size), np.float32) for _ in range(2))
        self._out = np.empty_like(self._a)

    def run(self, kind: str, count: int) -> None:
        """Multiply."""
        for _ in range(count):
            np.matmul(self._a, self._b, out=self._out)
