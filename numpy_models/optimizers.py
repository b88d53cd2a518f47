"""Optimizers over a network's flat parameter vector: a few array operations per step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

from numpy_models.layer import Array, Layer
from numpy_models.state import require_same_arrays

EpsMode = Literal["torch", "uncorrected", "inside_root"]


class Optimizer:
    """Base: the learning rate, the step count and named views of the state.

    ``state_dict`` is flat: ``step``, ``lr`` and, for each state of each parameter,
    ``<state>.<parameter>`` such as ``exp_avg.c1.weight``.
    """

    def __init__(self, net: Layer, lr: float, weight_decay: float) -> None:
        _require("lr", lr, 0 <= lr < math.inf, "a finite number >= 0")
        _require("weight_decay", weight_decay, weight_decay >= 0, "a number >= 0")
        self.net, self.lr, self.weight_decay = net, float(lr), weight_decay
        self.steps = 0
        self._state: dict[str, Array] = {}
        self._scratch = (np.empty_like(net.flat_parameters), np.empty_like(net.flat_parameters))

    def step(self) -> None:
        """Move the parameters by one step along the network's current gradients."""
        parameters = self.net.flat_parameters
        if parameters.dtype != self._scratch[0].dtype:
            raise ValueError(
                f"the network became {parameters.dtype} after its optimizer was made for "
                f"{self._scratch[0].dtype}; make the optimizer after net.to(...)"
            )
        self.steps += 1
        gradients = self.net.flat_gradients
        if self.weight_decay:
            gradients = gradients + self.weight_decay * parameters
        self._update(parameters, gradients)

    def _update(self, parameters: Array, gradients: Array) -> None:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the state."""
        named = {name: view.copy() for name, view in self._named()}
        return {"step": self.steps, "lr": float(self.lr), **named}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy ``state`` in.

        Raises:
            ValueError: for a missing or extra key, or a shape or dtype that does not match;
                nothing has been changed then.
        """
        require_same_arrays(state, self.state_dict(), "optimizer")
        self.steps, self.lr = int(state["step"]), float(state["lr"])
        for name, view in self._named():
            view[...] = state[name]

    def _named(self) -> Iterator[tuple[str, Array]]:
        """Yield views of the state by name."""
        for kind, flat in self._state.items():
            start = 0
            for name, parameter in self.net.parameters().items():
                yield f"{kind}.{name}", flat[start:][: parameter.size].reshape(parameter.shape)
                start += parameter.size


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, as ``torch.optim.SGD``.

    b <- momentum * b + (1 - dampening) * g (b <- g at the first step);
    theta <- theta - lr * b, or - lr * (g + momentum * b) with ``nesterov``.

    Raises:
        ValueError: for values out of range, or nesterov without momentum or with dampening.
    """

    def __init__(
        self,
        net: Layer,
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(net, lr, weight_decay)
        _require("momentum", momentum, momentum >= 0, "a number >= 0")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("nesterov needs a momentum > 0 and a dampening of 0")
        self.momentum, self.dampening, self.nesterov = momentum, dampening, nesterov
        if momentum:
            self._state["momentum_buffer"] = np.zeros_like(net.flat_parameters)

    def _update(self, parameters: Array, gradients: Array) -> None:
        if self.momentum:
            velocity = self._state["momentum_buffer"]
            if self.steps == 1:
                velocity[...] = gradients
            else:
                velocity *= self.momentum
                velocity += (1 - self.dampening) * gradients
            gradients = gradients + self.momentum * velocity if self.nesterov else velocity
        parameters -= np.multiply(gradients, self.lr, out=self._scratch[0])


class Adagrad(Optimizer):
    """h <- h + g²; theta <- theta - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(h) + eps).

    As ``torch.optim.Adagrad`` (Duchi, Hazan & Singer 2011); report R2 uses eps = 1e-7.

    Raises:
        ValueError: for values out of range.
    """

    def __init__(
        self,
        net: Layer,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        super().__init__(net, lr, weight_decay)
        _require("lr_decay", lr_decay, lr_decay >= 0, "a number >= 0")
        _require("eps", eps, eps >= 0, "a number >= 0")
        self.lr_decay, self.eps = lr_decay, eps
        self._state["sum"] = np.full_like(net.flat_parameters, initial_accumulator_value)

    def _update(self, parameters: Array, gradients: Array) -> None:
        total, (a, b) = self._state["sum"], self._scratch
        total += np.multiply(gradients, gradients, out=a)
        np.sqrt(total, out=a)
        a += self.eps
        np.divide(gradients, a, out=b)
        b *= self.lr / (1 + (self.steps - 1) * self.lr_decay)
        parameters -= b


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015), with each of the three places for eps that the reports use.

    m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g², mh = m / (1 - b1^t), vh = v / (1 - b2^t);

    * ``eps_mode="torch"``: theta <- theta - lr * mh / (sqrt(vh) + eps);
    * ``"uncorrected"`` (R0): theta <- theta - a * m / (sqrt(v) + eps) with
      a = lr * sqrt(1 - b2^t) / (1 - b1^t);
    * ``"inside_root"`` (R3): theta <- theta - lr * mh / sqrt(vh + eps).

    Raises:
        ValueError: for values out of range.
    """

    def __init__(
        self,
        net: Layer,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        eps_mode: EpsMode = "torch",
    ) -> None:
        super().__init__(net, lr, weight_decay)
        for beta in betas:
            _require("betas", betas, 0 <= beta < 1, "two numbers in [0, 1)")
        _require("eps", eps, eps >= 0, "a number >= 0")
        if eps_mode not in ("torch", "uncorrected", "inside_root"):
            raise ValueError(
                f'eps_mode must be "torch", "uncorrected" or "inside_root", got {eps_mode!r}'
            )
        self.betas, self.eps, self.eps_mode = (float(betas[0]), float(betas[1])), eps, eps_mode
        self._state["exp_avg"] = np.zeros_like(net.flat_parameters)
        self._state["exp_avg_sq"] = np.zeros_like(net.flat_parameters)

    def _update(self, parameters: Array, gradients: Array) -> None:
        m, v = self._state["exp_avg"], self._state["exp_avg_sq"]
        (b1, b2), (a, b) = self.betas, self._scratch
        np.subtract(gradients, m, out=a)
        a *= 1 - b1
        m += a
        np.multiply(gradients, gradients, out=a)
        a *= 1 - b2
        v *= b2
        v += a
        first, second = 1 - b1**self.steps, 1 - b2**self.steps
        if self.eps_mode == "inside_root":
            np.divide(v, second, out=a)
            a += self.eps
            np.sqrt(a, out=a)
            rate = self.lr / first
        else:
            # sqrt(vh) + eps is (sqrt(v) + eps * sqrt(1 - b2^t)) / sqrt(1 - b2^t): the two forms
            # differ only in whether eps is scaled as well.
            corrected = self.eps_mode == "torch"
            np.sqrt(v, out=a)
            a += self.eps * math.sqrt(second) if corrected else self.eps
            rate = self.lr * math.sqrt(second) / first
        np.divide(m, a, out=b)
        b *= rate
        parameters -= b


def _require(name: str, value: object, holds: bool, expected: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {expected}, got {value!r}")
