"""Mistakes that one run on one kind of input hides, and mistakes that look like another layer's."""

from __future__ import annotations

import numpy as np

from numpy_models import Dropout, Linear, ReLU, Tanh
from parity.faults.activations import SlopeAtZero
from parity.faults.dropout import NotScaledInBackward
from parity.faults.losses import NoMaximum
from parity.faults.pooling import LastTie
from parity.faults.record import Ledger, with_loss

fault = Ledger("blind spots", "out", "perceptron")
FAULTS = fault.faults
OWN_DROPOUT = "dropout, torch's own dropout"


@fault("gradient scaled by the first batch's size", scene="perceptron, varied")
class FirstBatchSize(Linear):
    """The bias's gradient scaled back by a batch size that is found out once."""

    samples = 0

    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        self.samples = self.samples or dy.shape[-1]
        self._gradients["bias"] *= self.samples / dy.shape[-1]
        return dx


@fault("tanh of two exponentials", "tanh1", "padded maxima, varied")
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


@fault("no dropout where torch has its own", "drop1", OWN_DROPOUT)
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


# At a size that they seldom have.
fault.gradient("gradients clipped", "weight")(lambda _, dy, g: g.clip(-10, 10))
fault("gradient not scaled behind torch's own dropout", "drop1", OWN_DROPOUT)(NotScaledInBackward)
fault.backward("gradient × 1.3 behind torch's own dropout", "f2", OWN_DROPOUT)(
    lambda _, dy, dx: 1.3 * dx
)
fault("last of tied zeros in max pooling", "s2", "odd pooling, varied")(LastTie)
fault("last of equal numbers, where none are", "s3", "strided, varied")(LastTie)
fault("slope 1 at a zero that never comes", "relu1", "strided, varied")(SlopeAtZero)
fault.plant("softmax that overflows later", with_loss(NoMaximum), "loss", "perceptron, varied")
