"""Mistakes in losses. Logits are (N, classes)."""

from __future__ import annotations

from parity.faults.record import Ledger

fault = Ledger("losses", "loss", part="criterion")
FAULTS = fault.faults
tanh = fault.on("lenet5_tanh")
large = fault.on("large logits")
smoothed = fault.on("smoothed loss")
avgpool = fault.on("lenet5_avgpool")
squared = fault.on("squared loss")
bn = fault.on("lenet5_bn")
deep = fault.on("deepcnn21")

NO_MAXIMUM = "shifted = logits« - logits.max(axis=1, keepdims=True)→»"

# Softmax normalised over all elements instead of over each row.
tanh(
    "softmax over the whole batch",
    "logits.max(«axis=1, keepdims=True→»)",
    "np.exp(shifted).sum(«axis=1, keepdims=True→»)",
)
# −log(p + 1e-7), as textbooks print it.
large(
    "ε in the logarithm",
    "-«log_probabilities[rows, targets]"
    "→np.log(np.exp(log_probabilities[rows, targets]) + 1e-7)».mean()",
)
large("softmax without subtracting the maximum", NO_MAXIMUM)
smoothed(
    "smoothing missing from the gradient",
    "gradient[np.arange(n), targets] -= «1 - self.label_smoothing→1»",
    "gradient -= «self.label_smoothing→0» / classes",
)
fault(
    "labels off by one", "targets = «np.asarray(targets)→(np.array(targets) + 1) % logits.shape[1]»"
)
# Logits taken through softmax before a loss that contains it.
avgpool(
    "softmax twice",
    "«→logits = np.exp(logits - logits.max(axis=1, keepdims=True)); "
    "logits /= logits.sum(axis=1, keepdims=True); »shifted = logits",
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
squared(
    "squared error averaged over the batch only",
    "np.square(difference).«mean()→sum() / len(difference)»",
    "2 / «self._saved.size→len(self._saved)»",
)
# Smoothing shared by the other classes only.
smoothed("smoothing over the other classes", label_smoothing=0.1 * 10 / 9)
fault("gradient without 1/N", "gradient /= «n→1»")
fault("loss summed, not averaged", "[rows, targets].«mean→sum»()")
bn("logarithm to base 2", "return float(loss«→ / np.log(2)»)")
squared("half the squared error", "return float(«→0.5 * »np.square")
deep("cross-entropy's gradient 0.1 % off", "return gradient«→ * 1.001»")
squared("squared error's gradient without its 2", "«2→1» / self._saved.size")
squared("squared error's gradient reversed", "«2→-2» / self._saved.size")
squared("squared error's gradient 0.1 % off", "«2→1.998» / self._saved.size")
