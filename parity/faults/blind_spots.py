"""Mistakes that one run on one kind of input hides, and mistakes that look like another layer's."""

from __future__ import annotations

from parity.faults.activations import SLOPE_AT_ZERO
from parity.faults.dropout import NOT_SCALED
from parity.faults.losses import NO_MAXIMUM
from parity.faults.pooling import LAST_TIE
from parity.faults.record import Ledger

fault = Ledger("blind spots", "out", "perceptron")
loss = Ledger(fault.area, "loss", "perceptron, varied", part="criterion", faults=fault.faults)
FAULTS = fault.faults
varied = fault.on("perceptron, varied")
padded = fault.on("padded maxima, varied")
overlapping = fault.on("overlapping")
own_dropout = fault.on("dropout, torch's own dropout")
odd = fault.on("odd pooling, varied")
strided = fault.on("strided, varied")

TRANSPOSED = 'self._parameters["weight"].T'

# The bias's gradient scaled back by a batch size that is found out once.
varied(
    "gradient scaled by the first batch's size",
    'dy.sum(axis=1, out=self._gradients["bias"])«→; self._gradients["bias"] *= '
    'self.__dict__.setdefault("samples", dy.shape[1]) / dy.shape[1]»',
)
padded(
    "tanh of two exponentials",
    "y = «np.tanh(x, out=empty(x.shape, x.dtype))"
    "→(np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x))»",
    culprit="tanh1",
)
# Each forward adds a mask, each backward takes the oldest.
overlapping(
    "masks taken from a queue",
    '«→self.__dict__.setdefault("masks", []).append(x > 0); »return y',
    "select(dy, «self._saved != 0→self.masks.pop(0)», out",
    culprit="relu6",
)
fault(
    "weights of the first call kept",
    f'return «{TRANSPOSED}→self.__dict__.setdefault("first", {TRANSPOSED}.copy())» @ dy',
)
# The weights of a forward, kept until backward has used them.
fault(
    "weights of another forward in backward",
    f'self._saved = x«→; self.__dict__.setdefault("kept", {TRANSPOSED}.copy())»',
    f'return «{TRANSPOSED}→self.__dict__.pop("kept")» @ dy',
)
own_dropout("no dropout where torch has its own", "if «self.training→False»:", culprit="drop1")
# The memory of its input, which the layer before has kept, is used for something else.
fault(
    "output of the layer before overwritten", "self._saved = x«→.copy()»", "«→x *= 0.5; »return y"
)
# At a size that they seldom have.
fault(
    "gradients clipped",
    'np.matmul(dy, x.T, out=self._gradients["weight"])«→.clip(-10, 10, '
    'out=self._gradients["weight"])»',
)
own_dropout("gradient not scaled behind torch's own dropout", NOT_SCALED, culprit="drop1")
own_dropout(
    "gradient × 1.3 behind torch's own dropout", f"return «→1.3 * »{TRANSPOSED} @ dy", culprit="f2"
)
odd("last of tied zeros in max pooling", *LAST_TIE, culprit="s2")
strided("last of equal numbers, where none are", *LAST_TIE, culprit="s3")
strided("slope 1 at a zero that never comes", SLOPE_AT_ZERO, culprit="relu1")
loss("softmax that overflows later", NO_MAXIMUM)
