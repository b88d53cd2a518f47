"""Mistakes in losses. Logits are (N, classes)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from numpy_models import CrossEntropyLoss, MSELoss
from parity.faults.record import Ledger, with_loss

fault = Ledger("losses", "loss", how=with_loss)
FAULTS = fault.faults


@fault("softmax over the whole batch", scene="lenet5_tanh")
class OverTheWholeBatch(CrossEntropyLoss):
    """Softmax normalised over all elements instead of over each row."""

    def forward(self, logits, targets):
        super().forward(logits, targets)
        shifted = logits - logits.max()
        logs = shifted - np.log(np.exp(shifted).sum())
        self._saved = logs, targets
        return float(-logs[np.arange(len(targets)), targets].mean())


@fault("ε in the logarithm", scene="large logits")
class EpsilonInTheLogarithm(CrossEntropyLoss):
    """−log(p + 1e-7), as textbooks print it."""

    def forward(self, logits, targets):
        super().forward(logits, targets)
        p = np.exp(self._saved[0])[np.arange(len(targets)), targets]
        return float(-np.log(p + p.dtype.type(1e-7)).mean())


@fault("softmax without subtracting the maximum", scene="large logits")
class NoMaximum(CrossEntropyLoss):
    """exp of the logits themselves, which overflows."""

    def forward(self, logits, targets):
        super().forward(logits, targets)
        powers = np.exp(logits)
        logs = np.log(powers / powers.sum(axis=1, keepdims=True))
        self._saved = logs, targets
        return float(-logs[np.arange(len(targets)), targets].mean())


@fault("smoothing missing from the gradient", scene="smoothed loss")
class SmoothingForgotten(CrossEntropyLoss):
    """Smoothed loss, gradient of the plain one."""

    def __init__(self) -> None:
        super().__init__(0.1)

    def backward(self):
        logs, targets = self._saved
        gradient = np.exp(logs)
        gradient[np.arange(len(targets)), targets] -= 1
        return gradient / logs.dtype.type(len(targets))


@fault("labels off by one")
class LabelsOffByOne(CrossEntropyLoss):
    def forward(self, logits, targets):
        return super().forward(logits, (targets + 1) % logits.shape[1])


@fault("softmax twice", scene="lenet5_avgpool")
class SoftmaxTwice(CrossEntropyLoss):
    """Logits taken through softmax before a loss that contains it."""

    def forward(self, logits, targets):
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return super().forward(powers / powers.sum(axis=1, keepdims=True), targets)


@fault("mean by a fixed batch size")
class FixedBatchSize(CrossEntropyLoss):
    """Divided by the usual batch size, also for the smaller last batch."""

    def forward(self, logits, targets):
        self.size = max(getattr(self, "size", 0), len(logits))
        return super().forward(logits, targets) * len(logits) / self.size

    def backward(self):
        gradient = super().backward()
        return gradient * gradient.dtype.type(len(gradient) / self.size)


@fault("gradient of the target's logit alone")
class ProbabilityOfTheTargetOnly(CrossEntropyLoss):
    """The gradient of the target's logit alone."""

    def backward(self):
        gradient, targets = super().backward(), self._saved[1]
        kept = np.zeros_like(gradient)
        rows = np.arange(len(targets))
        kept[rows, targets] = gradient[rows, targets]
        return kept


@fault("squared error averaged over the batch only", scene="squared loss")
class MeanOverTheBatchOnly(MSELoss):
    def forward(self, predictions, targets):
        self.width = predictions[0].size
        return super().forward(predictions, targets) * self.width

    def backward(self):
        gradient = super().backward()
        return gradient * gradient.dtype.type(self.width)


def off_by(kind: type, method: str, factor: Callable[[int], float]) -> type:
    """Return a loss whose "forward" or "backward" is off by a factor, of the batch size."""

    class Off(kind):  # type: ignore[misc, valid-type]
        def forward(self, outputs, targets):
            loss, self.factor = super().forward(outputs, targets), factor(len(outputs))
            return loss * self.factor if method == "forward" else loss

        def backward(self):
            gradient = super().backward()
            return gradient * gradient.dtype.type(self.factor if method == "backward" else 1)

    return Off


# Smoothing shared by the other classes only.
fault("smoothing over the other classes", scene="smoothed loss")(
    partial(CrossEntropyLoss, 0.1 * 10 / 9)
)
Entropy = CrossEntropyLoss
for name, scene, kind, method, factor in (
    ("gradient without 1/N", "lenet5_relu", Entropy, "backward", lambda n: n),
    ("loss summed, not averaged", "lenet5_relu", Entropy, "forward", lambda n: n),
    ("logarithm to base 2", "lenet5_bn", Entropy, "forward", lambda _: 1 / np.log(2)),
    ("half the squared error", "squared loss", MSELoss, "forward", lambda _: 0.5),
    ("cross-entropy's gradient 0.1 % off", "deepcnn21", Entropy, "backward", lambda _: 1.001),
    ("squared error's gradient without its 2", "squared loss", MSELoss, "backward", lambda _: 0.5),
    ("squared error's gradient reversed", "squared loss", MSELoss, "backward", lambda _: -1),
    ("squared error's gradient 0.1 % off", "squared loss", MSELoss, "backward", lambda _: 0.999),
):
    fault(name, scene=scene)(off_by(kind, method, factor))
