"""Mistakes in batch normalisation. Inside a layer images are (H, C, W, N)."""

from __future__ import annotations

from parity.faults.record import Ledger

fault = Ledger("batch norm", "bn2", "lenet5_bn")
FAULTS = fault.faults
faint = fault.on("lenet5_bn, faint")

fault("running variance biased", "self._track(mean, squares / «(count - 1)→count»)")
fault("normalised by the unbiased variance", "variance = squares / «count→(count - 1)»")
faint("ε outside the root", "«np.sqrt(variance + self.eps)→(np.sqrt(variance) + self.eps)»")
faint("no ε", "np.sqrt(variance« + self.eps→»)")
# Each image by itself, which is another normalisation.
fault(
    "statistics of each sample",
    "scale = «per_channel(1 / np.sqrt(variance + self.eps), x.dtype)"
    "→1 / np.sqrt(x.var(axis=(0, 2), keepdims=True) + self.eps)»",
    "normalised = x - «per_channel(mean, x.dtype)→x.mean(axis=(0, 2), keepdims=True)»",
)
fault("batch statistics in evaluation", "if «self.training→True» or not self._buffers:")
fault(
    "running statistics in training",
    'np.sqrt(«variance→self._buffers["running_var"]» + self.eps)',
    'normalised = x - per_channel(«mean→self._buffers["running_mean"]», x.dtype)',
    "self._saved = normalised, scale, «count→None»",
)
fault(
    "running statistics move in evaluation",
    "count = None«→; self._track(x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3), ddof=1))»",
)
fault("running statistics never move", "if «self.training→False» and self._buffers:")
fault("batches not counted", "tracked += «1→0»")
fault(
    "running standard deviation for variance",
    "self._track(mean, «squares / (count - 1)→np.sqrt(squares / (count - 1))»)",
    culprit="bn4",
)
fault("variance taken for a constant", "normalised * per_channel(-«→0 * »d_weight / count")
fault(
    "γ's gradient from the raw input",
    "self._saved = normalised, scale, count«→; self.seen = x»",
    'self._gradients["weight"][...] = «d_weight→_sum_per_channel(dy * self.seen)»',
)
fault("training's backward in evaluation", "count = «None→x.size // x.shape[1]»")
fault("statistics taken for constants", "self._saved = normalised, scale, «count→None»")
fault("mean taken for a constant", "dx -= «→0 * »per_channel(d_bias / count", culprit="bn4")
fault(
    "β's gradient divided by the batch size",
    'self._gradients["bias"][...] = d_bias«→ / dy.shape[3]»',
    culprit="bn4",
)
fault("input gradient without γ", 'scale = scale« * per_channel(self._parameters["weight"])→»')
fault("momentum reversed", culprit="bn4", momentum=0.9)
fault("ε of 1e-3", culprit="bn4", eps=1e-3)
for tensor, edit in (
    ("input", "scale = «→1.001 * »scale * per_channel("),
    ("weight", 'self._gradients["weight"][...] = «→1.001 * »d_weight'),
    ("bias", 'self._gradients["bias"][...] = «→1.001 * »d_bias'),
):
    fault(f"batch norm's {tensor} gradient 0.1 % off", edit)
