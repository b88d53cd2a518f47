"""Mistakes in dropout, of both kinds."""

from __future__ import annotations

from parity.faults.record import Ledger

fault = Ledger("dropout", "drop1", "dropout")
FAULTS = fault.faults
deep = fault.on("deepcnn21")

NOT_SCALED = "return dy * «self._saved→np.sign(self._saved)»"

fault("kept elements not scaled up", "self._saved /= «1 - self.p→1»")
fault("scaled by 1/p", "self._saved /= «1 - self.p→self.p»")
fault("kept with the probability of dropping", "batch_first(x).shape)) «>→<=» self.p")
fault(
    "original dropout not scaled in evaluation",
    'x.dtype.type(«1 - self.p→1» if self.kind == "original"',
    culprit="drop2",
)
fault("still dropping in evaluation", "if «self.training→True»:")
fault("another mask in backward", "return dy * «self._saved→np.roll(self._saved, 1)»")
deep(
    "one mask for the whole batch", "self.uniforms(batch_first(x).shape)«→[:1]»", culprit="dropout2"
)
fault("gradient not scaled up", NOT_SCALED)
fault(
    "inverted dropout scaled in evaluation too",
    'x.dtype.type(1 - self.p« if self.kind == "original" else 1→»)',
)
deep("gradient not masked", "return dy« * self._saved→»", culprit="dropout1")
deep("inverted dropout for original", culprit="dropout1", kind="inverted")
fault("original dropout for inverted", kind="original")
fault("p of 0.31 for 0.3", p=0.31)
deep("dropout's gradient 0.1 % off", "return «→1.001 * »dy * self._saved", culprit="dropout2")
