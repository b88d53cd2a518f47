"""Mistakes in batch normalisation. Inside a layer images are (H, C, W, N)."""

from __future__ import annotations

import numpy as np

from numpy_models import BatchNorm2d
from parity.faults.record import Fault, become, scaled, set_attributes


def _per_channel(values: np.ndarray) -> np.ndarray:
    return values[:, None, None]


class BiasedRunningVariance(BatchNorm2d):
    def forward_batch_last(self, x):
        self.samples = x.shape[0] * x.shape[2] * x.shape[3]
        return super().forward_batch_last(x)

    def _track(self, mean, unbiased_variance):
        super()._track(mean, unbiased_variance * np.float32((self.samples - 1) / self.samples))


class UnbiasedNormalisation(BatchNorm2d):
    def _batch_moments(self, x):
        count, mean, squares = super()._batch_moments(x)
        return count, mean, squares * np.float32(count / (count - 1))


class EpsilonOutsideTheRoot(BatchNorm2d):
    def _batch_moments(self, x):
        count, mean, squares = super()._batch_moments(x)
        std = np.sqrt(squares / count) + self.eps
        return count, mean, (std**2 - self.eps) * count


class NoEpsilon(BatchNorm2d):
    def _batch_moments(self, x):
        count, mean, squares = super()._batch_moments(x)
        return count, mean, squares - np.float32(self.eps * count)


class StatisticsAsConstants(BatchNorm2d):
    """Mean and variance taken for constants in backward."""

    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        _, scale, _ = self._saved
        return dy * scale * _per_channel(self._parameters["weight"]) + np.zeros_like(dx)


class MeanAsConstant(BatchNorm2d):
    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        _, scale, _ = self._saved
        factor = scale * _per_channel(self._parameters["weight"])
        return dx + _per_channel(dy.mean(axis=(0, 2, 3))) * factor


class VarianceAsConstant(BatchNorm2d):
    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        normalised, scale, _ = self._saved
        factor = scale * _per_channel(self._parameters["weight"])
        return dx + normalised * _per_channel((dy * normalised).mean(axis=(0, 2, 3))) * factor


class PerSample(BatchNorm2d):
    """Statistics of each image, which is another normalisation."""

    def forward_batch_last(self, x):
        y = super().forward_batch_last(x)
        if self.training:
            mean, variance = x.mean(axis=(0, 2)), x.var(axis=(0, 2))
            y[...] = (x - mean[:, None]) / np.sqrt(variance + self.eps)[:, None]
        return y


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


class AlwaysRunningStatistics(BatchNorm2d):
    def forward_batch_last(self, x):
        super().forward_batch_last(x)
        was, self.training = self.training, False
        y = super().forward_batch_last(x)
        self.training = was
        return y


class TracksInEvaluation(BatchNorm2d):
    def forward_batch_last(self, x):
        y = super().forward_batch_last(x)
        if not self.training:
            y = y.copy()
            _, mean, squares = super()._batch_moments(x)
            self._track(mean, squares / (x.size / x.shape[1] - 1))
        return y


class NothingTracked(BatchNorm2d):
    def _track(self, mean, unbiased_variance):
        pass


class BatchesNotCounted(BatchNorm2d):
    def _track(self, mean, unbiased_variance):
        super()._track(mean, unbiased_variance)
        self._buffers["num_batches_tracked"] -= 1


class StdTracked(BatchNorm2d):
    def _track(self, mean, unbiased_variance):
        super()._track(mean, np.sqrt(unbiased_variance))


class GammaGradientOfRawInput(BatchNorm2d):
    def forward_batch_last(self, x):
        self.seen = x.copy()
        return super().forward_batch_last(x)

    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        self._gradients["weight"][...] = (dy * self.seen).sum(axis=(0, 2, 3))
        return dx


class MeanBetaGradient(BatchNorm2d):
    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        self._gradients["bias"] /= dy.shape[3]
        return dx


class TrainingBackwardInEvaluation(BatchNorm2d):
    def forward_batch_last(self, x):
        y = super().forward_batch_last(x)
        normalised, scale, _ = self._saved
        self._saved = normalised, scale, x.size // x.shape[1]
        return y


class GammaForgotten(BatchNorm2d):
    """The input gradient misses the factor γ."""

    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        return dx / _per_channel(self._parameters["weight"])


def _fault(
    name: str, kind: type[BatchNorm2d], layer: str = "bn2", scene: str = "lenet5_bn"
) -> Fault:
    return Fault(name, "batch norm", layer, scene, become(layer, kind))


def _set(name: str, **values: float) -> Fault:
    return Fault(name, "batch norm", "bn4", "lenet5_bn", set_attributes("bn4", **values))


FAULTS = [
    _fault("running variance biased", BiasedRunningVariance),
    _fault("normalised by the unbiased variance", UnbiasedNormalisation),
    _set("momentum reversed", momentum=0.9),
    _set("ε of 1e-3", eps=1e-3),
    _fault("ε outside the root", EpsilonOutsideTheRoot, "bn2", "lenet5_bn, faint"),
    _fault("no ε", NoEpsilon, "bn2", "lenet5_bn, faint"),
    _fault("statistics taken for constants", StatisticsAsConstants),
    _fault("mean taken for a constant", MeanAsConstant, "bn4"),
    _fault("variance taken for a constant", VarianceAsConstant),
    _fault("statistics of each sample", PerSample),
    _fault("batch statistics in evaluation", AlwaysBatchStatistics),
    _fault("running statistics in training", AlwaysRunningStatistics),
    _fault("running statistics move in evaluation", TracksInEvaluation),
    _fault("running statistics never move", NothingTracked),
    _fault("batches not counted", BatchesNotCounted),
    _fault("running standard deviation for variance", StdTracked, "bn4"),
    _fault("γ's gradient from the raw input", GammaGradientOfRawInput),
    _fault("β's gradient divided by the batch size", MeanBetaGradient, "bn4"),
    _fault("training's backward in evaluation", TrainingBackwardInEvaluation),
    _fault("input gradient without γ", GammaForgotten),
    *(
        Fault(
            f"batch norm's {tensor} gradient 0.1 % off",
            "batch norm",
            "bn2",
            "lenet5_bn",
            scaled("bn2", tensor, 1.001),
        )
        for tensor in ("input", "weight", "bias")
    ),
]
