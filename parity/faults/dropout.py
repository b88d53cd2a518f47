"""Mistakes in dropout, of both kinds."""

from __future__ import annotations

import numpy as np

from numpy_models import Dropout
from parity.faults.record import Fault, become, scaled, set_attributes


class Unscaled(Dropout):
    """The inverted kind without its factor 1 / (1 − p)."""

    def forward_batch_last(self, x):
        y = super().forward_batch_last(x)
        self._saved = np.sign(self._saved)
        return y * x.dtype.type(1 - self.p) if self.training else y


class ScaledByP(Dropout):
    def forward_batch_last(self, x):
        y = super().forward_batch_last(x)
        if not self.training:
            return y
        factor = x.dtype.type((1 - self.p) / self.p)
        self._saved = self._saved * factor
        return y * factor


class KeptWithP(Dropout):
    def uniforms(self, shape):
        return 1 - super().uniforms(shape)


class NotScaledInEvaluation(Dropout):
    """The original kind without its factor 1 − p."""

    def forward_batch_last(self, x):
        y = super().forward_batch_last(x)
        if self.training:
            return y
        self._saved = np.ones_like(self._saved)
        return x.copy()


class ScaledTwice(Dropout):
    """Rescaled in training and in evaluation."""

    def forward_batch_last(self, x):
        y = super().forward_batch_last(x)
        return y if self.training else y * x.dtype.type(1 - self.p)


class DropsInEvaluation(Dropout):
    def forward_batch_last(self, x):
        if self.training:
            return super().forward_batch_last(x)
        uniforms = np.random.default_rng(0).random(x.shape, np.float32)
        self._saved = (uniforms > self.p).astype(x.dtype)
        return x * self._saved


class NoMaskInBackward(Dropout):
    def backward_batch_last(self, dy, input_gradient=True):
        return dy.copy()


class NewMaskInBackward(Dropout):
    def backward_batch_last(self, dy, input_gradient=True):
        if self.training:
            self._saved = np.roll(self._saved, 1, axis=-1)
        return super().backward_batch_last(dy, input_gradient)


class OneMaskForTheBatch(Dropout):
    def uniforms(self, shape):
        return np.broadcast_to(super().uniforms(shape)[:1], shape)


class NotScaledInBackward(Dropout):
    def backward_batch_last(self, dy, input_gradient=True):
        self._saved = np.sign(self._saved)
        return super().backward_batch_last(dy, input_gradient)


def _fault(name: str, kind: type[Dropout], layer: str = "drop1", scene: str = "dropout") -> Fault:
    return Fault(name, "dropout", layer, scene, become(layer, kind))


def _set(name: str, layer: str, scene: str, **values: object) -> Fault:
    return Fault(name, "dropout", layer, scene, set_attributes(layer, **values))


FAULTS = [
    _fault("kept elements not scaled up", Unscaled),
    _fault("scaled by 1/p", ScaledByP),
    _fault("kept with the probability of dropping", KeptWithP),
    _fault("gradient not masked", NoMaskInBackward, "dropout1", "deepcnn21"),
    _fault("another mask in backward", NewMaskInBackward),
    _fault("one mask for the whole batch", OneMaskForTheBatch, "dropout2", "deepcnn21"),
    _fault("gradient not scaled up", NotScaledInBackward),
    _fault("still dropping in evaluation", DropsInEvaluation),
    _fault("original dropout not scaled in evaluation", NotScaledInEvaluation, "drop2"),
    _fault("inverted dropout scaled in evaluation too", ScaledTwice),
    _set("inverted dropout for original", "dropout1", "deepcnn21", kind="inverted"),
    _set("original dropout for inverted", "drop1", "dropout", kind="original"),
    _set("p of 0.31 for 0.3", "drop1", "dropout", p=0.31),
    Fault(
        "dropout's gradient 0.1 % off",
        "dropout",
        "dropout2",
        "deepcnn21",
        scaled("dropout2", "input", 1.001),
    ),
]
