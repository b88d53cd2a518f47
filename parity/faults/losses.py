"""Mistakes in losses. Logits are (N, classes)."""

from __future__ import annotations

from typing import Any

from parity.faults.record import Ledger

fault = Ledger("losses", "loss", part="criterion")
FAULTS = fault.faults

LARGE: dict[str, Any] = {"scene": "large logits"}
SMOOTHED: dict[str, Any] = {"scene": "smoothed loss"}
SQUARED: dict[str, Any] = {"scene": "squared loss"}
NO_MAXIMUM = "shifted = logits« - logits.max(axis=1, keepdims=True)→»"

# Softmax normalised over all elements instead of over each row.
fault(
    "softmax over the whole batch",
    "logits.max(«axis=1, keepdims=True→»)",
    "np.exp(shifted).sum(«axis=1, keepdims=True→»)",
    scene="lenet5_tanh",
)
# −log(p + 1e-7), as textbooks print it.
fault(
    "ε in the logarithm",
    "-«log_probabilities[rows, targets]"
    "→np.log(np.exp(log_probabilities[rows, targets]) + 1e-7)».mean()",
    **LARGE,
)
fault("softmax without subtracting the maximum", NO_MAXIMUM, **LARGE)
fault(
    "smoothing missing from the gradient",
    "gradient[np.arange(n), targets] -= «1 - self.label_smoothing→1»",
    "gradient -= «self.label_smoothing→0» / classes",
    **SMOOTHED,
)
fault(
    "labels off by one", "targets = «np.asarray(targets)→(np.array(targets) + 1) % logits.shape[1]»"
)
# Logits taken through softmax before a loss that contains it.
fault(
    "softmax twice",
    "«→logits = np.exp(logits - logits.max(axis=1, keepdims=True)); "
    "logits /= logits.sum(axis=1, keepdims=True); »shifted = logits",
    scene="lenet5_avgpool",
)
# Divided by the usual batch size, also for the smaller last batch.
fault(
    "mean by a fixed batch size",
    '[rows, targets].«mean()→sum() / self.__dict__.setdefault("size", len(rows))»',
    'gradient /= «n→self.__dict__.setdefault("size", n)»',
)
fault(
    "gradient of the target's logit alone",
    "gradient = np.exp(log_probabilities)«→ * np.eye(classes, dtype=np.float32)[targets]»",
)
fault(
    "squared error averaged over the batch only",
    "np.square(difference).«mean()→sum() / len(difference)»",
    "2 / «self._saved.size→len(self._saved)»",
    **SQUARED,
)
# Smoothing shared by the other classes only.
fault("smoothing over the other classes", label_smoothing=0.1 * 10 / 9, **SMOOTHED)
fault("gradient without 1/N", "gradient /= «n→1»")
fault("loss summed, not averaged", "[rows, targets].«mean→sum»()")
fault("logarithm to base 2", "return float(loss«→ / np.log(2)»)", scene="lenet5_bn")
fault("half the squared error", "return float(«→0.5 * »np.square", **SQUARED)
fault("cross-entropy's gradient 0.1 % off", "return gradient«→ * 1.001»", scene="deepcnn21")
fault("squared error's gradient without its 2", "«2→1» / self._saved.size", **SQUARED)
fault("squared error's gradient reversed", "«2→-2» / self._saved.size", **SQUARED)
fault("squared error's gradient 0.1 % off", "«2→1.998» / self._saved.size", **SQUARED)
