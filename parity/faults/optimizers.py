"""Mistakes in optimizers, each a changed update over the network's flat parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from numpy_models import SGD, Adagrad, Adam
from parity.faults.record import Ledger, Plant, Scene


def instead(kind: type, **changes: object) -> Plant:
    """Plant by making another optimizer with the same options, some of them changed."""

    def plant(scene: Scene) -> None:
        right = scene.recipe.numpy_optimizer.keywords  # type: ignore[attr-defined]
        made = partial(kind, **{**right, **changes})
        scene.recipe = replace(scene.recipe, numpy_optimizer=made)

    return plant


fault = Ledger("optimizers", "optimizer", how=instead)
FAULTS = fault.faults


@fault("rate inside the momentum buffer", scene="momentum")
class RateInTheBuffer(SGD):
    """b ← μ·b + lr·g: the same path until the rate changes."""

    def _update(self, parameters, gradients):
        velocity = self._state["momentum_buffer"]
        velocity[...] = self.momentum * velocity + self.lr * gradients
        parameters -= velocity


@fault("Nesterov from the old buffer", scene="nesterov")
class NesterovFromTheOldBuffer(SGD):
    def _update(self, parameters, gradients):
        before = self._state["momentum_buffer"].copy()
        super()._update(parameters, gradients)
        after = self._state["momentum_buffer"]
        parameters += self.lr * self.momentum * (after - before)


@fault("weight decay of the wrong sign", scene="momentum")
class DecayReversed(SGD):
    def _update(self, parameters, gradients):
        super()._update(parameters, gradients - 2 * self.weight_decay * parameters)


@fault("ascent for descent", scene="perceptron")
class Ascent(SGD):
    def _update(self, parameters, gradients):
        super()._update(parameters, -gradients)


@fault("last parameter forgotten", scene="perceptron")
class LastParameterForgotten(SGD):
    def _update(self, parameters, gradients):
        kept = parameters[-10:].copy()
        super()._update(parameters, gradients)
        parameters[-10:] = kept


@fault("stepping twice", scene="perceptron")
class StepTwice(SGD):
    def _update(self, parameters, gradients):
        super()._update(parameters, gradients)
        super()._update(parameters, gradients)


@fault("stepping along the previous gradients", scene="perceptron")
class PreviousGradients(SGD):
    """Steps along the gradients of the batch before."""

    def _update(self, parameters, gradients):
        before = self.__dict__.get("before", gradients)
        self.before = gradients.copy()
        super()._update(parameters, before)


@fault("rate kept from the beginning", scene="perceptron")
class CachedRate(SGD):
    """Keeps the rate it was made with, whatever the schedule does."""

    def _update(self, parameters, gradients):
        first = self.__dict__.setdefault("first_rate", self.lr)
        now, self.lr = self.lr, first
        super()._update(parameters, gradients)
        self.lr = now


@fault("AdaGrad forgets", scene="Adagrad")
class Forgetting(Adagrad):
    """h = g², not h += g²."""

    def _update(self, parameters, gradients):
        self._state["sum"][...] = 0
        super()._update(parameters, gradients)


@fault("AdaGrad leaks", scene="Adagrad")
class Leaky(Adagrad):
    """A decaying average: RMSprop under AdaGrad's name."""

    def _update(self, parameters, gradients):
        self._state["sum"] *= 0.9
        super()._update(parameters, gradients)


@fault("AdaGrad's ε inside the root", scene="Adagrad")
class AdagradEpsilonInsideTheRoot(Adagrad):
    def _update(self, parameters, gradients):
        total = self._state["sum"]
        total += gradients**2
        rate = self.lr / (1 + (self.steps - 1) * self.lr_decay)
        parameters -= rate * gradients / np.sqrt(total + np.float32(self.eps))


@fault("AdaGrad without its root", scene="Adagrad")
class NoRoot(Adagrad):
    def _update(self, parameters, gradients):
        total = self._state["sum"]
        total += gradients**2
        parameters -= self.lr * gradients / (total + np.float32(self.eps))


@fault("one bias correction for both moments", scene="Adam")
class OneCorrection(Adam):
    """The second moment corrected by the first one's factor."""

    def _update(self, parameters, gradients):
        super()._update(parameters, gradients)
        b1, b2 = self.betas
        wrong = np.sqrt((1 - b1**self.steps) / (1 - b2**self.steps))
        m, v = self._state["exp_avg"], self._state["exp_avg_sq"]
        root = np.sqrt(v / (1 - b2**self.steps)) + self.eps
        parameters += (self.lr * (1 - wrong) * m / (1 - b1**self.steps) / root).astype(np.float32)


@fault("second moment never moves", scene="Adam")
class MomentFromOldGradient(Adam):
    """The second moment before this step's gradient."""

    def _update(self, parameters, gradients):
        before = self._state["exp_avg_sq"].copy()
        super()._update(parameters, gradients)
        self._state["exp_avg_sq"][...] = before


@fault("second moment of |g|", scene="Adam")
class AbsoluteGradient(Adam):
    """|g| for g² in the second moment."""

    def _update(self, parameters, gradients):
        v, before = self._state["exp_avg_sq"], self._state["exp_avg_sq"].copy()
        super()._update(parameters, gradients)
        v[...] = self.betas[1] * before + (1 - self.betas[1]) * np.abs(gradients)


@fault("update 0.1 % too large", scene="Adam")
class ThousandthTooFar(Adam):
    def _update(self, parameters, gradients):
        before = parameters.copy()
        super()._update(parameters, gradients)
        parameters += np.float32(1e-3) * (parameters - before)


def counting(kind: type, steps: Callable[[int], int]) -> type:
    """Return an optimizer that takes its number of steps for another."""

    class Counting(kind):  # type: ignore[misc, valid-type]
        def _update(self, parameters, gradients):
            right, self.steps = self.steps, steps(self.steps)
            super()._update(parameters, gradients)
            self.steps = right

    return Counting


def decoupled(kind: type) -> type:
    """Return an optimizer with weight decay on the weights instead of in the gradient."""

    class Decoupled(kind):  # type: ignore[misc, valid-type]
        def _update(self, parameters, gradients):
            gradients = gradients - self.weight_decay * parameters
            parameters *= 1 - self.lr * self.weight_decay
            super()._update(parameters, gradients)

    return Decoupled


fault("dampened at the first step", scene="dampening")(counting(SGD, lambda t: t + 1))
fault("AdaGrad's decay one step early", scene="Adagrad")(counting(Adagrad, lambda t: t + 1))
fault("Adam's correction a step late", scene="Adam")(counting(Adam, lambda t: t + 1))
fault("Adam without bias correction", scene="Adam")(counting(Adam, lambda _: 10**6))
fault("Adam's step never counted", scene="Adam")(counting(Adam, lambda _: 1))
fault("weight decay decoupled", scene="momentum")(decoupled(SGD))
fault("AdamW for Adam", scene="Adam")(decoupled(Adam))
# b ← (1 − μ)·b + μ·g, and b ← μ·b + (1 − μ)·g.
fault("momentum reversed in SGD", scene="momentum", momentum=0.1)(SGD)
fault("momentum as an average", scene="momentum", dampening=0.9)(SGD)
fault("Nesterov forgotten", scene="nesterov", nesterov=False)(SGD)
fault("Adam's β exchanged", scene="Adam", betas=(0.999, 0.9))(Adam)
MISPLACED = "Adam's ε misplaced: "
fault(f"{MISPLACED}uncorrected for torch's", scene="Adam", eps_mode="uncorrected")(Adam)
fault(f"{MISPLACED}torch's for uncorrected", scene="Adam uncorrected", eps_mode="torch")(Adam)
fault(f"{MISPLACED}outside the root", scene="Adam inside root", eps_mode="torch")(Adam)
