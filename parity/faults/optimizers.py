"""Mistakes in optimizers, each a changed update over the network's flat parameters."""

from __future__ import annotations

import numpy as np

from numpy_models import SGD, Adagrad, Adam
from parity.faults.record import Fault, Plant, Scene


def instead(kind: type, **changes: object) -> Plant:
    """Plant by making another optimizer with the same options, some of them changed."""

    def plant(scene: Scene) -> None:
        options = {**scene.numpy_optimizer.keywords, **changes}  # type: ignore[attr-defined]
        scene.numpy_optimizer = lambda network: kind(network, **options)

    return plant


class MomentumReversed(SGD):
    """b ← (1 − μ)·b + μ·g."""

    def __init__(self, net, momentum=0.0, **options) -> None:
        super().__init__(net, momentum=1 - momentum, **options)


class ExponentialAverage(SGD):
    """b ← μ·b + (1 − μ)·g, another convention of momentum."""

    def _update(self, parameters, gradients):
        velocity = self._state["momentum_buffer"]
        velocity[...] = self.momentum * velocity + (1 - self.momentum) * gradients
        parameters -= self.lr * velocity


class RateInTheBuffer(SGD):
    """b ← μ·b + lr·g: the same path until the rate changes."""

    def _update(self, parameters, gradients):
        velocity = self._state["momentum_buffer"]
        velocity[...] = self.momentum * velocity + self.lr * gradients
        parameters -= velocity


class DampedAtTheFirstStep(SGD):
    def _update(self, parameters, gradients):
        self.steps += 1
        super()._update(parameters, gradients)
        self.steps -= 1


class NesterovFromTheOldBuffer(SGD):
    def _update(self, parameters, gradients):
        before = self._state["momentum_buffer"].copy()
        super()._update(parameters, gradients)
        after = self._state["momentum_buffer"]
        parameters += self.lr * self.momentum * (after - before)


class Decoupled(SGD):
    """Weight decay on the weights instead of in the gradient."""

    def _update(self, parameters, gradients):
        gradients = gradients - self.weight_decay * parameters
        parameters *= 1 - self.lr * self.weight_decay
        super()._update(parameters, gradients)


class DecayReversed(SGD):
    def _update(self, parameters, gradients):
        super()._update(parameters, gradients - 2 * self.weight_decay * parameters)


class Ascent(SGD):
    def _update(self, parameters, gradients):
        super()._update(parameters, -gradients)


class LastParameterForgotten(SGD):
    def _update(self, parameters, gradients):
        kept = parameters[-10:].copy()
        super()._update(parameters, gradients)
        parameters[-10:] = kept


class StepTwice(SGD):
    def _update(self, parameters, gradients):
        super()._update(parameters, gradients)
        super()._update(parameters, gradients)


class PreviousGradients(SGD):
    """Steps along the gradients of the batch before."""

    def _update(self, parameters, gradients):
        before = self.__dict__.get("before", gradients)
        self.before = gradients.copy()
        super()._update(parameters, before)


class CachedRate(SGD):
    """Keeps the rate it was made with, whatever the schedule does."""

    def _update(self, parameters, gradients):
        first = self.__dict__.setdefault("first_rate", self.lr)
        now, self.lr = self.lr, first
        super()._update(parameters, gradients)
        self.lr = now


class Forgetting(Adagrad):
    """h = g², not h += g²."""

    def _update(self, parameters, gradients):
        self._state["sum"][...] = 0
        super()._update(parameters, gradients)


class Leaky(Adagrad):
    """A decaying average: RMSprop under AdaGrad's name."""

    def _update(self, parameters, gradients):
        self._state["sum"] *= 0.9
        super()._update(parameters, gradients)


class AdagradEpsilonInsideTheRoot(Adagrad):
    def _update(self, parameters, gradients):
        total = self._state["sum"]
        total += gradients**2
        rate = self.lr / (1 + (self.steps - 1) * self.lr_decay)
        parameters -= rate * gradients / np.sqrt(total + np.float32(self.eps))


class NoRoot(Adagrad):
    def _update(self, parameters, gradients):
        total = self._state["sum"]
        total += gradients**2
        parameters -= self.lr * gradients / (total + np.float32(self.eps))


class DecayFromTheFirstStep(Adagrad):
    def _update(self, parameters, gradients):
        self.steps += 1
        super()._update(parameters, gradients)
        self.steps -= 1


class NoBiasCorrection(Adam):
    def _update(self, parameters, gradients):
        steps, self.steps = self.steps, 10**6
        super()._update(parameters, gradients)
        self.steps = steps


class CorrectionLate(Adam):
    """t one too large in the bias correction."""

    def _update(self, parameters, gradients):
        self.steps += 1
        super()._update(parameters, gradients)
        self.steps -= 1


class OneCorrection(Adam):
    """The second moment corrected by the first one's factor."""

    def _update(self, parameters, gradients):
        super()._update(parameters, gradients)
        b1, b2 = self.betas
        wrong = np.sqrt((1 - b1**self.steps) / (1 - b2**self.steps))
        m, v = self._state["exp_avg"], self._state["exp_avg_sq"]
        root = np.sqrt(v / (1 - b2**self.steps)) + self.eps
        parameters += (self.lr * (1 - wrong) * m / (1 - b1**self.steps) / root).astype(np.float32)


class MomentFromOldGradient(Adam):
    """The second moment before this step's gradient."""

    def _update(self, parameters, gradients):
        before = self._state["exp_avg_sq"].copy()
        super()._update(parameters, gradients)
        self._state["exp_avg_sq"][...] = before


class AbsoluteGradient(Adam):
    """|g| for g² in the second moment."""

    def _update(self, parameters, gradients):
        v, before = self._state["exp_avg_sq"], self._state["exp_avg_sq"].copy()
        super()._update(parameters, gradients)
        v[...] = self.betas[1] * before + (1 - self.betas[1]) * np.abs(gradients)


class DecoupledAdam(Adam):
    """AdamW's weight decay for Adam's."""

    def _update(self, parameters, gradients):
        gradients = gradients - self.weight_decay * parameters
        parameters *= 1 - self.lr * self.weight_decay
        super()._update(parameters, gradients)


class ThousandthTooFar(Adam):
    def _update(self, parameters, gradients):
        before = parameters.copy()
        super()._update(parameters, gradients)
        parameters += np.float32(1e-3) * (parameters - before)


class StepNotCounted(Adam):
    """t never leaves 1, so that the correction never fades."""

    def _update(self, parameters, gradients):
        steps, self.steps = self.steps, 1
        super()._update(parameters, gradients)
        self.steps = steps


def _fault(name: str, scene: str, kind: type, **changes: object) -> Fault:
    return Fault(name, "optimizers", "optimizer", scene, instead(kind, **changes))


FAULTS = [
    _fault("momentum reversed in SGD", "momentum", MomentumReversed),
    _fault("momentum as an average", "momentum", ExponentialAverage),
    _fault("rate inside the momentum buffer", "momentum", RateInTheBuffer),
    _fault("dampened at the first step", "dampening", DampedAtTheFirstStep),
    _fault("Nesterov forgotten", "nesterov", SGD, nesterov=False),
    _fault("Nesterov from the old buffer", "nesterov", NesterovFromTheOldBuffer),
    _fault("weight decay decoupled", "momentum", Decoupled),
    _fault("weight decay of the wrong sign", "momentum", DecayReversed),
    _fault("ascent for descent", "perceptron", Ascent),
    _fault("last parameter forgotten", "perceptron", LastParameterForgotten),
    _fault("stepping twice", "perceptron", StepTwice),
    _fault("stepping along the previous gradients", "perceptron", PreviousGradients),
    _fault("rate kept from the beginning", "perceptron", CachedRate),
    _fault("AdaGrad forgets", "Adagrad", Forgetting),
    _fault("AdaGrad leaks", "Adagrad", Leaky),
    _fault("AdaGrad's ε inside the root", "Adagrad", AdagradEpsilonInsideTheRoot),
    _fault("AdaGrad without its root", "Adagrad", NoRoot),
    _fault("AdaGrad's decay one step early", "Adagrad", DecayFromTheFirstStep),
    _fault("Adam without bias correction", "Adam", NoBiasCorrection),
    _fault("Adam's correction a step late", "Adam", CorrectionLate),
    _fault("Adam's step never counted", "Adam", StepNotCounted),
    _fault("one bias correction for both moments", "Adam", OneCorrection),
    _fault("Adam's β exchanged", "Adam", Adam, betas=(0.999, 0.9)),
    _fault("Adam's ε misplaced: uncorrected for torch's", "Adam", Adam, eps_mode="uncorrected"),
    _fault(
        "Adam's ε misplaced: torch's for uncorrected", "Adam uncorrected", Adam, eps_mode="torch"
    ),
    _fault("Adam's ε misplaced: outside the root", "Adam inside root", Adam, eps_mode="torch"),
    _fault("second moment never moves", "Adam", MomentFromOldGradient),
    _fault("second moment of |g|", "Adam", AbsoluteGradient),
    _fault("AdamW for Adam", "Adam", DecoupledAdam),
    _fault("update 0.1 % too large", "Adam", ThousandthTooFar),
]
