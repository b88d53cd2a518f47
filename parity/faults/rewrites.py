"""Harmless rewrites: the same quantities in another order or form. All of them must pass."""

from __future__ import annotations

from functools import partial

import numpy as np

from numpy_models import (
    SGD,
    Adagrad,
    Adam,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    CrossEntropyLoss,
    Dropout,
    Linear,
    MaxPool2d,
    ReLU,
    Tanh,
)
from parity.faults import convolution, pooling
from parity.faults.edits import edited
from parity.faults.record import Plant, Rewrite, Scene


class RoundedEitherWay(Conv2d):
    """Every other element of the result one unit in the last place higher, as other kernels do."""

    def forward_batch_last(self, x):
        y = super().forward_batch_last(x)
        y[1::2] = np.nextafter(y[1::2], np.inf, dtype=y.dtype)
        y[:, :, 1::2] = np.nextafter(y[:, :, 1::2], np.inf, dtype=y.dtype)
        return y


class Columns(Conv2d):
    """im2col, summed from the last column to the first."""

    def forward_batch_last(self, x):
        y = super().forward_batch_last(x)
        oh, _, ow, n = y.shape
        windows = [view for _, _, view in self.windows.offsets(self.windows.frame(x, 0))]
        columns = np.stack(windows, axis=2).transpose(1, 2, 0, 3, 4).reshape(-1, oh * ow * n)
        weight = self._parameters["weight"].reshape(len(self._parameters["weight"]), -1)
        product = weight[:, ::-1] @ columns[::-1]
        y[...] = product.reshape(-1, oh, ow, n).swapaxes(0, 1)
        y += self._parameters["bias"][:, None, None]
        return y


class SampleBySample(Conv2d):
    """Gradients summed one sample at a time, the last one first."""

    def backward_batch_last(self, dy, input_gradient=True):
        dy = dy.copy()  # the calls below use its memory
        dx = super().backward_batch_last(dy, input_gradient).copy()
        sums = {name: np.zeros_like(value) for name, value in self._gradients.items()}
        for sample in reversed(range(dy.shape[3])):
            alone = np.zeros_like(dy)
            alone[..., sample] = dy[..., sample]
            super().backward_batch_last(alone, input_gradient)
            for name, value in self._gradients.items():
                sums[name] += value
        for name, value in sums.items():
            self._gradients[name][...] = value
        return dx


class Textbook(BatchNorm2d):
    """Each derivative on its own line: through the variance, the mean and x."""

    def forward_batch_last(self, x):
        self.seen = x.copy()
        return super().forward_batch_last(x)

    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        _, scale, count = self._saved
        if count is None:
            return dx
        centred = self.seen - self.seen.mean(axis=(0, 2, 3))[:, None, None]
        normalised = dy * self._parameters["weight"][:, None, None]
        axes = {"axis": (0, 2, 3), "keepdims": True}
        variance = (normalised * centred).sum(**axes) * scale**3 / -2
        mean = -(normalised * scale).sum(**axes) - 2 * variance * centred.mean(**axes)
        return normalised * scale + (2 * variance * centred + mean) / dy.dtype.type(count)


class ThroughProbabilities(CrossEntropyLoss):
    """Softmax first, its logarithm taken in double precision; sums in reverse."""

    def forward(self, logits, targets):
        super().forward(logits, targets)
        logits = logits.astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        self.p = powers / powers[:, ::-1].sum(axis=1, keepdims=True)
        return float(-np.log(self.p[np.arange(len(targets)), targets])[::-1].mean())

    def backward(self):
        gradient = super().backward()
        one_hot = np.eye(gradient.shape[1])[self._saved[1]]
        return ((self.p - one_hot) / len(gradient)).astype(gradient.dtype)


class TextbookAdagrad(Adagrad):
    def _update(self, parameters, gradients):
        total = self._state["sum"]
        total[...] = total + gradients**2
        rate = self.lr / (1 + (self.steps - 1) * self.lr_decay)
        parameters[...] = parameters - rate * gradients / (np.sqrt(total) + self.eps)


class TextbookAdam(Adam):
    """Both moments corrected one after the other, as the paper prints it."""

    def _update(self, parameters, gradients):
        b1, b2 = self.betas
        m, v = self._state["exp_avg"], self._state["exp_avg_sq"]
        m[...] = b1 * m + (1 - b1) * gradients
        v[...] = b2 * v + (1 - b2) * gradients**2
        first, second = m / (1 - b1**self.steps), v / (1 - b2**self.steps)
        parameters -= self.lr * first / (np.sqrt(second) + self.eps)


OffsetByOffset = edited(Conv2d, convolution.GENERAL)
#: Sums over every other number first, and over the samples in reverse.
SplitProduct = edited(
    Linear,
    'y = self._parameters["weight"]« @ x'
    '→[:, ::2] @ x[::2] + self._parameters["weight"][:, 1::2] @ x[1::2]»',
    "np.matmul(dy«→[:, ::-1]», x«→[:, ::-1]».T, out",
    "dy«→[:, ::-1]».sum(axis=1, out",
)
ByArgmax = edited(
    MaxPool2d,
    pooling.GENERAL,
    "«tiles.reduce(np.maximum, [view for _, _, view in views])"
    "→np.stack([view for _, _, view in views]).max(axis=0)»",
)
ByMean = edited(
    AvgPool2d,
    "return «tiles.forward_mean(x, self.windows.kernel)"
    "→sum(x[i::2, :, j::2] * 0.25 for i in (1, 0) for j in (1, 0))»",
)
ReluByProduct = edited(ReLU, "y = «np.maximum(x, 0, out=empty(x.shape, x.dtype))→x * (x > 0)»")
TanhByProduct = edited(Tanh, "return «dx→dy * (1 - self._saved) * (1 + self._saved)»")
DropoutByWhere = edited(
    Dropout, "return «dy * self._saved→np.where(self._saved != 0, dy * self._saved, 0)»"
)
PlainSGD = edited(
    SGD,
    "velocity« *= self.momentum"
    "→[...] = (1 - self.dampening) * gradients + self.momentum * velocity»",
    "velocity += «(1 - self.dampening)→0» * gradients",
)


def become_all(kind: type) -> Plant:
    """Plant by turning every layer of the subclass's base class."""

    def plant(scene: Scene) -> None:
        targets = [x for x in scene.network.layers.values() if type(x) is kind.__mro__[1]]
        assert targets
        for target in targets:
            target.__class__ = kind

    return plant


def instead(kind: type) -> Plant:
    """Plant by making another optimizer with the same options."""

    def plant(scene: Scene) -> None:
        options = scene.recipe.numpy_optimizer.keywords  # type: ignore[attr-defined]
        scene.replace(numpy_optimizer=partial(kind, **options))

    return plant


def with_loss(scene: Scene) -> None:
    """Plant another loss."""
    scene.replace(numpy_criterion=ThroughProbabilities())


REWRITES = [
    *(
        Rewrite(f"unchanged {scene}", scene, lambda _: None)
        for scene in ("overlapping", "strided", "ties", "padded maxima", "odd pooling", "dropout")
    ),
    Rewrite("convolution offset by offset", "lenet5_relu", become_all(OffsetByOffset)),
    Rewrite("convolution by columns in reverse", "lenet5_tanh", become_all(Columns)),
    *(
        Rewrite(f"convolution rounds differently in {scene}", scene, become_all(RoundedEitherWay))
        for scene in ("lenet5_relu", "lenet5_bn, even", "deepcnn21, even")
    ),
    Rewrite("gradients sample by sample", "lenet5_bn", become_all(SampleBySample)),
    Rewrite("products split and reversed", "lenet5_relu", become_all(SplitProduct)),
    Rewrite("batch norm unfused", "lenet5_bn", become_all(Textbook)),
    Rewrite("maxima over stacked windows", "deepcnn21", become_all(ByArgmax)),
    Rewrite("averages weighted before they are added", "lenet5_avgpool", become_all(ByMean)),
    Rewrite("ReLU as a product", "lenet5_avgpool", become_all(ReluByProduct)),
    Rewrite("tanh's derivative as a product", "lenet5_tanh", become_all(TanhByProduct)),
    Rewrite("dropout by selection", "deepcnn21", become_all(DropoutByWhere)),
    Rewrite("loss through probabilities", "lenet5_relu", with_loss),
    Rewrite("SGD in one expression", "momentum", instead(PlainSGD)),
    Rewrite("AdaGrad in one expression", "Adagrad", instead(TextbookAdagrad)),
    Rewrite("Adam as the paper prints it", "Adam", instead(TextbookAdam)),
]
