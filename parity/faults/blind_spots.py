"""Mistakes that one run on one kind of input hides, and mistakes that look like another layer's."""

from __future__ import annotations

import numpy as np
from torch import nn

from numpy_models import Dropout, Linear, ReLU, Tanh
from parity.faults.dropout import NotScaledInBackward
from parity.faults.pooling import LastTie
from parity.faults.record import Fault, Plant, Scene, become, scaled, sequence


class Clipping(Linear):
    """Gradients clipped at a size that they seldom have."""

    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        np.clip(self._gradients["weight"], -10, 10, out=self._gradients["weight"])
        return dx


class FirstBatchSize(Linear):
    """The bias's gradient scaled back by a batch size that is found out once."""

    samples = 0

    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        self.samples = self.samples or dy.shape[-1]
        self._gradients["bias"] *= self.samples / dy.shape[-1]
        return dx


class TextbookTanh(Tanh):
    def forward_batch_last(self, x):
        up, down = np.exp(x), np.exp(-x)
        self._saved = (up - down) / (up + down)
        return self._saved


class QueuedMasks(ReLU):
    """Each forward adds a mask, each backward takes the oldest."""

    def forward_batch_last(self, x):
        self.__dict__.setdefault("masks", []).append(x > 0)
        return super().forward_batch_last(x)

    def backward_batch_last(self, dy, input_gradient=True):
        return dy * self.masks.pop(0)


class FirstWeights(Linear):
    """The transposed weights of the first call, kept."""

    def backward_batch_last(self, dy, input_gradient=True):
        super().backward_batch_last(dy, input_gradient)
        if "transposed" not in self.__dict__:
            self.transposed = self._parameters["weight"].T.copy()
        return self.transposed @ dy


class NoDropout(Dropout):
    def forward_batch_last(self, x):
        self._saved = np.ones_like(x)
        return x.copy()


class OverwritingOutputs(Linear):
    """The memory of its input, which the layer before has kept, is used for something else."""

    def forward_batch_last(self, x):
        y = super().forward_batch_last(x.copy())
        x *= 0.5
        return y


def _varied(scene: Scene) -> None:
    scene.vary = True


def _torchs_own_dropout(scene: Scene) -> None:
    scene.module.drop1 = nn.Dropout(0.3)


def _fault(name: str, layer: str, scene: str, *plants: Plant) -> Fault:
    return Fault(name, "blind_spots", layer, scene, sequence(*plants))


FAULTS = [
    _fault("gradients clipped", "out", "perceptron", become("out", Clipping)),
    _fault(
        "gradient scaled by the first batch's size",
        "out",
        "perceptron",
        become("out", FirstBatchSize),
        _varied,
    ),
    _fault(
        "tanh of two exponentials",
        "tanh1",
        "padded maxima",
        become("tanh1", TextbookTanh),
        _varied,
    ),
    _fault(
        "last of tied zeros in max pooling", "s2", "odd pooling", become("s2", LastTie), _varied
    ),
    _fault("masks taken from a queue", "relu6", "overlapping", become("relu6", QueuedMasks)),
    _fault("weights of the first call kept", "out", "perceptron", become("out", FirstWeights)),
    _fault(
        "no dropout where torch has its own",
        "drop1",
        "dropout",
        _torchs_own_dropout,
        become("drop1", NoDropout),
    ),
    _fault(
        "gradient not scaled behind torch's own dropout",
        "drop1",
        "dropout",
        _torchs_own_dropout,
        become("drop1", NotScaledInBackward),
    ),
    _fault(
        "gradient × 1.3 behind torch's own dropout",
        "f2",
        "dropout",
        _torchs_own_dropout,
        scaled("f2", "input", 1.3),
    ),
    _fault(
        "output of the layer before overwritten",
        "out",
        "perceptron",
        become("out", OverwritingOutputs),
    ),
]
