"""Mistakes in batch normalisation. Inside a layer images are (H, C, W, N)."""

from __future__ import annotations

import numpy as np

from numpy_models import BatchNorm2d
from parity.faults.record import Ledger

fault = Ledger("batch norm", "bn2", "lenet5_bn")
FAULTS = fault.faults


def _slope(layer: BatchNorm2d) -> np.ndarray:
    """Return dy/dx where mean and variance are constants."""
    _, scale, _ = layer._saved
    return scale * layer._parameters["weight"][:, None, None]


@fault("running variance biased")
class BiasedRunningVariance(BatchNorm2d):
    def forward_batch_last(self, x):
        self.samples = x.shape[0] * x.shape[2] * x.shape[3]
        return super().forward_batch_last(x)

    def _track(self, mean, unbiased_variance):
        super()._track(mean, unbiased_variance * np.float32((self.samples - 1) / self.samples))


@fault("normalised by the unbiased variance")
class UnbiasedNormalisation(BatchNorm2d):
    def _batch_moments(self, x):
        count, mean, squares = super()._batch_moments(x)
        return count, mean, squares * np.float32(count / (count - 1))


@fault("ε outside the root", "bn2", "lenet5_bn, faint")
class EpsilonOutsideTheRoot(BatchNorm2d):
    def _batch_moments(self, x):
        count, mean, squares = super()._batch_moments(x)
        std = np.sqrt(squares / count) + self.eps
        return count, mean, (std**2 - self.eps) * count


@fault("no ε", "bn2", "lenet5_bn, faint")
class NoEpsilon(BatchNorm2d):
    def _batch_moments(self, x):
        count, mean, squares = super()._batch_moments(x)
        return count, mean, squares - np.float32(self.eps * count)


@fault.forward("statistics of each sample")
def _(layer, x, y):
    """Statistics of each image, which is another normalisation."""
    if layer.training:
        mean, variance = x.mean(axis=(0, 2)), x.var(axis=(0, 2))
        y[...] = (x - mean[:, None]) / np.sqrt(variance + layer.eps)[:, None]


@fault("batch statistics in evaluation")
class AlwaysBatchStatistics(BatchNorm2d):
    def forward_batch_last(self, x):
        was, self.training = self.training, True
        buffers = {name: value.copy() for name, value in self._buffers.items()}
        y = super().forward_batch_last(x)
        self.training = was
        if not was:
            for name, value in buffers.items():
                self._buffers[name][...] = value
        return y


@fault("running statistics in training")
class AlwaysRunningStatistics(BatchNorm2d):
    def forward_batch_last(self, x):
        super().forward_batch_last(x)
        was, self.training = self.training, False
        y = super().forward_batch_last(x)
        self.training = was
        return y


@fault("running statistics move in evaluation")
class TracksInEvaluation(BatchNorm2d):
    def forward_batch_last(self, x):
        y = super().forward_batch_last(x)
        if not self.training:
            y = y.copy()
            _, mean, squares = super()._batch_moments(x)
            self._track(mean, squares / (x.size / x.shape[1] - 1))
        return y


@fault("running statistics never move")
class NothingTracked(BatchNorm2d):
    def _track(self, mean, unbiased_variance):
        pass


@fault("batches not counted")
class BatchesNotCounted(BatchNorm2d):
    def _track(self, mean, unbiased_variance):
        super()._track(mean, unbiased_variance)
        self._buffers["num_batches_tracked"] -= 1


@fault("running standard deviation for variance", "bn4")
class StdTracked(BatchNorm2d):
    def _track(self, mean, unbiased_variance):
        super()._track(mean, np.sqrt(unbiased_variance))


@fault.backward("variance taken for a constant")
def _(layer, dy, dx):
    normalised, _, _ = layer._saved
    moved = (dy * normalised).mean(axis=(0, 2, 3))[:, None, None]
    return dx + normalised * moved * _slope(layer)


@fault("γ's gradient from the raw input")
class GammaGradientOfRawInput(BatchNorm2d):
    def forward_batch_last(self, x):
        self.seen = x.copy()
        return super().forward_batch_last(x)

    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        self._gradients["weight"][...] = (dy * self.seen).sum(axis=(0, 2, 3))
        return dx


@fault.forward("training's backward in evaluation")
def _(layer, x, y):
    normalised, scale, _ = layer._saved
    layer._saved = normalised, scale, x.size // x.shape[1]


fault.backward("statistics taken for constants")(
    lambda layer, dy, dx: dy * _slope(layer) + np.zeros_like(dx)
)
fault.backward("mean taken for a constant", "bn4")(
    lambda layer, dy, dx: dx + dy.mean(axis=(0, 2, 3))[:, None, None] * _slope(layer)
)
fault.gradient("β's gradient divided by the batch size", "bias", "bn4")(
    lambda _, dy, g: g / dy.shape[3]
)
fault.backward("input gradient without γ")(
    lambda layer, dy, dx: dx / layer._parameters["weight"][:, None, None]
)
fault.setting("momentum reversed", "bn4", momentum=0.9)
fault.setting("ε of 1e-3", "bn4", eps=1e-3)
for tensor in ("input", "weight", "bias"):
    fault.scaled(f"batch norm's {tensor} gradient 0.1 % off", tensor, 1.001)
