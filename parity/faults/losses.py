"""Mistakes in losses. Logits are (N, classes)."""

from __future__ import annotations

import numpy as np

from numpy_models import CrossEntropyLoss, MSELoss
from parity.faults.record import Fault, Plant, with_loss


class GradientNotAveraged(CrossEntropyLoss):
    def backward(self):
        gradient = super().backward()
        return gradient * gradient.dtype.type(len(gradient))


class Summed(CrossEntropyLoss):
    def forward(self, logits, targets):
        return super().forward(logits, targets) * len(logits)


class OverTheWholeBatch(CrossEntropyLoss):
    """Softmax normalised over all elements instead of over each row."""

    def forward(self, logits, targets):
        super().forward(logits, targets)
        shifted = logits - logits.max()
        logs = shifted - np.log(np.exp(shifted).sum())
        self._saved = logs, targets
        return float(-logs[np.arange(len(targets)), targets].mean())


class EpsilonInTheLogarithm(CrossEntropyLoss):
    """−log(p + 1e-7), as textbooks print it."""

    def forward(self, logits, targets):
        super().forward(logits, targets)
        p = np.exp(self._saved[0])[np.arange(len(targets)), targets]
        return float(-np.log(p + p.dtype.type(1e-7)).mean())


class NoMaximum(CrossEntropyLoss):
    """exp of the logits themselves, which overflows."""

    def forward(self, logits, targets):
        super().forward(logits, targets)
        powers = np.exp(logits)
        logs = np.log(powers / powers.sum(axis=1, keepdims=True))
        self._saved = logs, targets
        return float(-logs[np.arange(len(targets)), targets].mean())


class SmoothingForgotten(CrossEntropyLoss):
    """Smoothed loss, gradient of the plain one."""

    def backward(self):
        logs, targets = self._saved
        gradient = np.exp(logs)
        gradient[np.arange(len(targets)), targets] -= 1
        return gradient / logs.dtype.type(len(targets))


class SmoothedOverTheOthers(CrossEntropyLoss):
    """Smoothing shared by the other classes only."""

    def __init__(self) -> None:
        super().__init__(0.1 * 10 / 9)


class BaseTwo(CrossEntropyLoss):
    def forward(self, logits, targets):
        return super().forward(logits, targets) / np.log(2)


class SoftmaxTwice(CrossEntropyLoss):
    """Logits taken through softmax before a loss that contains it."""

    def forward(self, logits, targets):
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return super().forward(powers / powers.sum(axis=1, keepdims=True), targets)


class LabelsOffByOne(CrossEntropyLoss):
    def forward(self, logits, targets):
        return super().forward(logits, (targets + 1) % logits.shape[1])


class FixedBatchSize(CrossEntropyLoss):
    """Divided by the usual batch size, also for the smaller last batch."""

    def forward(self, logits, targets):
        self.size = max(getattr(self, "size", 0), len(logits))
        return super().forward(logits, targets) * len(logits) / self.size

    def backward(self):
        gradient = super().backward()
        return gradient * gradient.dtype.type(len(gradient) / self.size)


class ThousandthOff(CrossEntropyLoss):
    def backward(self):
        gradient = super().backward()
        return gradient * gradient.dtype.type(1.001)


class ProbabilityOfTheTargetOnly(CrossEntropyLoss):
    """The gradient of the target's logit alone."""

    def backward(self):
        gradient, targets = super().backward(), self._saved[1]
        kept = np.zeros_like(gradient)
        rows = np.arange(len(targets))
        kept[rows, targets] = gradient[rows, targets]
        return kept


class NoFactorTwo(MSELoss):
    def backward(self):
        gradient = super().backward()
        return gradient / gradient.dtype.type(2)


class HalfSquare(MSELoss):
    def forward(self, predictions, targets):
        return super().forward(predictions, targets) / 2


class MeanOverTheBatchOnly(MSELoss):
    def forward(self, predictions, targets):
        self.width = predictions[0].size
        return super().forward(predictions, targets) * self.width

    def backward(self):
        gradient = super().backward()
        return gradient * gradient.dtype.type(self.width)


class SignReversed(MSELoss):
    def backward(self):
        return -super().backward()


class SquaredThousandthOff(MSELoss):
    def backward(self):
        gradient = super().backward()
        return gradient * gradient.dtype.type(0.999)


class Smoothed(SmoothingForgotten):
    def __init__(self) -> None:
        super().__init__(0.1)


def _fault(name: str, plant: Plant | type, scene: str = "lenet5_relu") -> Fault:
    return Fault(
        name, "losses", "loss", scene, with_loss(plant) if isinstance(plant, type) else plant
    )


FAULTS = [
    _fault("gradient without 1/N", GradientNotAveraged),
    _fault("loss summed, not averaged", Summed),
    _fault("softmax over the whole batch", OverTheWholeBatch, "lenet5_tanh"),
    _fault("ε in the logarithm", EpsilonInTheLogarithm, "large logits"),
    _fault("softmax without subtracting the maximum", NoMaximum, "large logits"),
    _fault("smoothing missing from the gradient", Smoothed, "smoothed loss"),
    _fault("smoothing over the other classes", SmoothedOverTheOthers, "smoothed loss"),
    _fault("logarithm to base 2", BaseTwo, "lenet5_bn"),
    _fault("softmax twice", SoftmaxTwice, "lenet5_avgpool"),
    _fault("labels off by one", LabelsOffByOne),
    _fault("mean by a fixed batch size", FixedBatchSize),
    _fault("gradient of the target's logit alone", ProbabilityOfTheTargetOnly),
    _fault("cross-entropy's gradient 0.1 % off", ThousandthOff, "deepcnn21"),
    _fault("squared error's gradient without its 2", NoFactorTwo, "squared loss"),
    _fault("half the squared error", HalfSquare, "squared loss"),
    _fault("squared error averaged over the batch only", MeanOverTheBatchOnly, "squared loss"),
    _fault("squared error's gradient reversed", SignReversed, "squared loss"),
    _fault("squared error's gradient 0.1 % off", SquaredThousandthOff, "squared loss"),
]
