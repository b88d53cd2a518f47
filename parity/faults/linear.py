"""Mistakes in fully connected layers. Inside a layer features are (F, N)."""

from __future__ import annotations

from parity.faults.record import Ledger

fault = Ledger("linear", "f6")
FAULTS = fault.faults
overlapping = fault.on("overlapping")
deep = fault.on("deepcnn21")
tanh = fault.on("lenet5_tanh")

WRITTEN = 'np.matmul(dy, x.T, out=self._gradients["weight"])'

fault(
    "input gradient through updated weights",
    'return «self._parameters["weight"]→(self._parameters["weight"] - 0.01 * '
    'self._gradients["weight"])».T @ dy',
    culprit="out",
)
# Backward's input is kept as a view of memory that is used again.
fault("saved samples in another order", "self._saved = x«→[:, ::-1]»")
overlapping("square weight transposed", 'y = self._parameters["weight"]«→.T» @ x')
overlapping("square weight transposed in backward", 'self._parameters["weight"]«.T→» @ dy if')
overlapping("square weight gradient transposed", 'out=self._gradients["weight"]«→.T»)')
fault("bias added twice", 'y += «→2 * »self._parameters["bias"]')
# The loss has already done so.
fault("weight gradient divided by the batch size again", "np.matmul(dy«→ / dy.shape[1]», x.T")
deep("bias gradient is a mean over the batch", "dy.«sum→mean»(axis=1", culprit="fc2")
fault("bias gradient of the last sample", "dy«→[:, -1:]».sum(axis=1")
fault(
    "weight decay hidden in the gradient",
    f'{WRITTEN}«→; self._gradients["weight"] += 1e-4 * self._parameters["weight"]»',
    culprit="c5",
)
tanh("bias gradient forgotten", "«dy→(0 * dy)».sum(axis=1", culprit="out")
for tensor, edit in (
    ("input", 'return «→0.999 * »self._parameters["weight"].T'),
    ("weight", "np.matmul(«→0.999 * »dy, x.T"),
    ("bias", "«dy→(0.999 * dy)».sum(axis=1"),
):
    fault(f"linear layer's {tensor} gradient 0.1 % off", edit, culprit="c5")
