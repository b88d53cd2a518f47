"""Mistakes in activations and in flattening."""

from __future__ import annotations

from parity.faults.record import Ledger

fault = Ledger("activations")
FAULTS = fault.faults
ties = fault.on("ties")
avgpool = fault.on("lenet5_avgpool")
tanh = fault.on("lenet5_tanh")
bn = fault.on("lenet5_bn")
deep = fault.on("deepcnn21")

SLOPE_AT_ZERO = (
    "self._saved = y = np.maximum(x, 0, out=empty(x.shape, x.dtype))«→; self._saved = x >= 0»"
)

ties("ReLU has slope 1 at 0", SLOPE_AT_ZERO, culprit="relu1")
avgpool(
    "ReLU keeps its first mask",
    'select(dy, «self._saved→self.__dict__.setdefault("first", self._saved)» != 0',
    culprit="relu6",
)
tanh(
    "the 1998 paper's scaled tanh",
    "np.tanh(x«→ * (2 / 3)», out",
    "return «→1.7159 * »y",
    culprit="tanh1",
)
tanh(
    "tanh by a fraction",
    "«np.tanh(x, out=empty(x.shape, x.dtype))→np.clip(x * (27 + x * x) / (27 + 9 * x * x), -1, 1)»",
    culprit="tanh1",
)
fault("flattened channels last", "else x.swapaxes(«0, 1→1, 2»).reshape", culprit="flatten")
fault("ReLU leaks backward", "return «→1e-4 * dy + »select(dy, self._saved", culprit="relu3")
# Positive gradients pass instead of gradients where the input was positive.
bn(
    "ReLU gated by the gradient's sign",
    "select(dy, «self._saved != 0→dy > 0», out",
    culprit="relu4",
)
# A ceiling that ordinary inputs seldom reach.
bn("ReLU clipped at 1", "return «y→np.minimum(y, 1)»", culprit="relu2")
fault("ReLU leaks forward", "return y«→ + 1e-4 * np.minimum(x, 0)»", culprit="relu5")
tanh("tanh's derivative 1 − y", "np.subtract(1, «dx→self._saved», out", culprit="tanh3")
tanh(
    "tanh's derivative at the output",
    "np.square(«self._saved→np.tanh(self._saved)», out",
    culprit="tanh2",
)
deep(
    "gradient folded in another order",
    "dy.reshape(channels, «height, width→width, height», n).«swapaxes(0, 1)→transpose(2, 0, 1, 3)»",
    culprit="flatten",
)
# Reshaped without bringing the batch to the front.
tanh("samples in another order", "reshape(-1, x.shape[-1])«→[:, ::-1]»", culprit="flatten")
fault("ReLU's gradient 0.1 % off", "return «→1.001 * »select(", culprit="relu5")
tanh("tanh's gradient 0.1 % off", "return «→0.999 * »dx", culprit="tanh4")
tanh("flatten's gradient 0.1 % off", "return «→1.001 * »dy.reshape(", culprit="flatten")
