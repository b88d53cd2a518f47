"""Mistakes that one run on one kind of input hides, and mistakes that look like another layer's."""

from __future__ import annotations

import numpy as np
from torch import nn

from numpy_models import Dropout, Layer, Linear, ReLU, Tanh
from parity.faults.activations import SlopeAtZero
from parity.faults.dropout import NotScaledInBackward
from parity.faults.losses import NoMaximum
from parity.faults.pooling import LastTie
from parity.faults.record import Ledger, Plant, Scene, become, sequence, with_loss


def _vary(scene: Scene) -> None:
    scene.vary = True


def _varied(kind: type[Layer], layer: str) -> Plant:
    """Plant where the pair is held on variations of its inputs."""
    return sequence(become(layer, kind), _vary)


def _beside_torchs_dropout(layer: str, kind: type[Layer]) -> Plant:
    return sequence(_torchs_own_dropout, become(layer, kind))


def _torchs_own_dropout(scene: Scene) -> None:
    scene.module.drop1 = nn.Dropout(0.3)


fault = Ledger("blind spots", "out", "perceptron")
FAULTS = fault.faults


@fault("gradients clipped")
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


@fault("masks taken from a queue", "relu6", "overlapping")
class QueuedMasks(ReLU):
    """Each forward adds a mask, each backward takes the oldest."""

    def forward_batch_last(self, x):
        self.__dict__.setdefault("masks", []).append(x > 0)
        return super().forward_batch_last(x)

    def backward_batch_last(self, dy, input_gradient=True):
        return dy * self.masks.pop(0)


@fault("weights of the first call kept")
class FirstWeights(Linear):
    """The transposed weights of the first call, kept."""

    def backward_batch_last(self, dy, input_gradient=True):
        super().backward_batch_last(dy, input_gradient)
        if "transposed" not in self.__dict__:
            self.transposed = self._parameters["weight"].T.copy()
        return self.transposed @ dy


@fault("weights of another forward in backward")
class WeightsUntilBackward(Linear):
    """The weights of a forward, kept until backward has used them."""

    def forward_batch_last(self, x):
        y = super().forward_batch_last(x)
        self.__dict__.setdefault("transposed", self._parameters["weight"].T.copy())
        return y

    def backward_batch_last(self, dy, input_gradient=True):
        super().backward_batch_last(dy, input_gradient)
        return self.__dict__.pop("transposed") @ dy


class NoDropout(Dropout):
    def forward_batch_last(self, x):
        self._saved = np.ones_like(x)
        return x.copy()


@fault("output of the layer before overwritten")
class OverwritingOutputs(Linear):
    """The memory of its input, which the layer before has kept, is used for something else."""

    def forward_batch_last(self, x):
        y = super().forward_batch_last(x.copy())
        x *= 0.5
        return y


class Enlarging(Linear):
    def backward_batch_last(self, dy, input_gradient=True):
        return 1.3 * super().backward_batch_last(dy, input_gradient)


fault.plant("gradient scaled by the first batch's size", _varied(FirstBatchSize, "out"))
fault.plant("tanh of two exponentials", _varied(TextbookTanh, "tanh1"), "tanh1", "padded maxima")
fault.plant("last of tied zeros in max pooling", _varied(LastTie, "s2"), "s2", "odd pooling")
fault.plant("last of equal numbers, where none are", _varied(LastTie, "s3"), "s3", "strided")
fault.plant("slope 1 at a zero that never comes", _varied(SlopeAtZero, "relu1"), "relu1", "strided")
fault.plant("softmax that overflows later", sequence(with_loss(NoMaximum), _vary), "loss")
for name, layer, kind in (
    ("no dropout where torch has its own", "drop1", NoDropout),
    ("gradient not scaled behind torch's own dropout", "drop1", NotScaledInBackward),
    ("gradient × 1.3 behind torch's own dropout", "f2", Enlarging),
):
    fault.plant(name, _beside_torchs_dropout(layer, kind), layer, "dropout")
