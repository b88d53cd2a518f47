"""The training step of lenet5_relu in MyGrad, NumPy's automatic differentiation library."""

from __future__ import annotations

import mygrad
import numpy as np
from mygrad import Tensor
from mygrad.nnet.activations import relu
from mygrad.nnet.layers import conv_nd, max_pool
from mygrad.nnet.losses import softmax_crossentropy
from numpy.typing import NDArray

from benchmarks.task import StepTask


class MyGradStep(StepTask):
    """LeNet-5 of MyGrad's own layers; Adam in NumPy, since MyGrad has no optimizers."""

    def place(self) -> None:
        """Use the arrays as they are."""

    def start(self, nudge: int) -> None:
        start = self.start_weights(nudge)
        self._parameters = {name: mygrad.tensor(value) for name, value in start.items()}
        self._moments = {name: (np.zeros_like(v), np.zeros_like(v)) for name, v in start.items()}
        self._steps = 0

    def step(self, start: int, stop: int) -> float:
        indices = self.order[start:stop]
        logits = self._forward(self._input(self.train_images[indices]))
        loss = softmax_crossentropy(logits, self.train_labels[indices])
        loss.backward()
        self._update()
        return float(loss)

    def test_logits(self, images: int) -> NDArray[np.float32]:
        with mygrad.no_autodiff:
            parts = [
                self._forward(self._input(self.test_images[s])) for s in self.test_slices(images)
            ]
        return np.concatenate([np.asarray(part) for part in parts])

    def _input(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        scaled = np.multiply(images[:, None], self.scale, dtype=np.float32)
        scaled += self.shift
        return scaled

    def _forward(self, x: NDArray[np.float32]) -> Tensor:
        p = self._parameters
        filters = (1, -1, 1, 1)
        y = conv_nd(x, p["c1.weight"], stride=1, padding=2) + p["c1.bias"].reshape(filters)
        y = max_pool(relu(y), (2, 2), 2)  # (N, 6, 14, 14)
        y = conv_nd(y, p["c3.weight"], stride=1) + p["c3.bias"].reshape(filters)
        y = max_pool(relu(y), (2, 2), 2).reshape(len(x), -1)  # (N, 400)
        y = relu(y @ p["c5.weight"].T + p["c5.bias"])
        y = relu(y @ p["f6.weight"].T + p["f6.bias"])
        return y @ p["out.weight"].T + p["out.bias"]

    def _update(self) -> None:
        self._steps += 1
        first, second = 1 - 0.9**self._steps, 1 - 0.999**self._steps
        for name, parameter in self._parameters.items():
            m, v = self._moments[name]
            gradient = np.asarray(parameter.grad)
            m += 0.1 * (gradient - m)
            v += 0.001 * (gradient**2 - v)
            update = np.sqrt(v / second)
            update += 1e-8
            np.divide(m, update, out=update)
            update *= self.rate / first
            parameter.data -= update
