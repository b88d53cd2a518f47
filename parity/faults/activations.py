"""Mistakes in activations and in flattening."""

from __future__ import annotations

from typing import Any

from parity.faults.record import Ledger

fault = Ledger("activations")
FAULTS = fault.faults

TANH: dict[str, Any] = {"scene": "lenet5_tanh"}
SLOPE_AT_ZERO = (
    "self._saved = y = np.maximum(x, 0, out=empty(x.shape, x.dtype))«→; self._saved = x >= 0»"
)

fault("ReLU has slope 1 at 0", SLOPE_AT_ZERO, culprit="relu1", scene="ties")
fault(
    "ReLU keeps its first mask",
    'select(dy, «self._saved→self.__dict__.setdefault("first", self._saved)» != 0',
    culprit="relu6",
    scene="lenet5_avgpool",
)
fault(
    "the 1998 paper's scaled tanh",
    "np.tanh(x«→ * (2 / 3)», out",
    "return «→1.7159 * »y",
    culprit="tanh1",
    **TANH,
)
fault(
    "tanh by a fraction",
    "«np.tanh(x, out=empty(x.shape, x.dtype))→np.clip(x * (27 + x * x) / (27 + 9 * x * x), -1, 1)»",
    culprit="tanh1",
    **TANH,
)
fault("flattened channels last", "else x.swapaxes(«0, 1→1, 2»).reshape", culprit="flatten")
fault("ReLU leaks backward", "return «→1e-4 * dy + »select(dy, self._saved", culprit="relu3")
# Positive gradients pass instead of gradients where the input was positive.
fault(
    "ReLU gated by the gradient's sign",
    "select(dy, «self._saved != 0→dy > 0», out",
    culprit="relu4",
    scene="lenet5_bn",
)
# A ceiling that ordinary inputs seldom reach.
fault("ReLU clipped at 1", "return «y→np.minimum(y, 1)»", culprit="relu2", scene="lenet5_bn")
fault("ReLU leaks forward", "return y«→ + 1e-4 * np.minimum(x, 0)»", culprit="relu5")
fault("tanh's derivative 1 − y", "np.subtract(1, «dx→self._saved», out", culprit="tanh3", **TANH)
fault(
    "tanh's derivative at the output",
    "np.square(«self._saved→np.tanh(self._saved)», out",
    culprit="tanh2",
    **TANH,
)
fault(
    "gradient folded in another order",
    "dy.reshape(channels, «height, width→width, height», n).«swapaxes(0, 1)→transpose(2, 0, 1, 3)»",
    culprit="flatten",
    scene="deepcnn21",
)
# Reshaped without bringing the batch to the front.
fault("samples in another order", "reshape(-1, x.shape[-1])«→[:, ::-1]»", culprit="flatten", **TANH)
fault("ReLU's gradient 0.1 % off", "return «→1.001 * »select(", culprit="relu5")
fault("tanh's gradient 0.1 % off", "return «→0.999 * »dx", culprit="tanh4", **TANH)
fault("flatten's gradient 0.1 % off", "return «→1.001 * »dy.reshape(", culprit="flatten", **TANH)
