"""Hold a NumPy network's backward against its own forward by central differences, without torch.

In float64, with the scalar f = Σ upstream·output and a step h = ε^(1/3), the difference quotient
(f(x + h) − f(x − h)) / 2h is off by h²·f‴/6 for truncation and ε·|f|/h for rounding, both of order
ε^(2/3) ≈ 4e-11. The tolerance is 32·ε^(2/3) times the magnitudes summed in f plus the largest
gradient: eight decimal places. Where the two still differ, the step may have crossed a kink (ReLU
at 0, a tie in max pooling): a step 30 times smaller, with the tolerance its rounding asks for,
decides. At a kink itself no derivative exists, so inputs must stay away from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from parity.protocol import Criterion, Network, ParityError, check_network

_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Derivative:
    """The worst element of one tensor: backward's derivative against the difference quotient.

    Attributes:
        tensor: "input" or a parameter's name.
        index: the element.
        backward: what backward gives.
        numeric: the difference quotient.
        error: their distance.
        tolerance: the distance allowed.
    """

    tensor: str
    index: tuple[int, ...]
    backward: float
    numeric: float
    error: float
    tolerance: float

    @property
    def share(self) -> float:
        """The share of the tolerance used; above 1 is a failure."""
        if self.error == 0:
            return 0.0
        return self.error / self.tolerance if self.tolerance > 0 else float("inf")

    @property
    def passed(self) -> bool:
        """Whether the two agree."""
        return self.share <= 1

    def __str__(self) -> str:
        return (
            f"gradient of {self.tensor} at {list(self.index)}: backward {self.backward:.9g}, "
            f"difference quotient {self.numeric:.9g}, error {self.error:.3g}, "
            f"tolerance {self.tolerance:.3g}"
        )


def derivatives(
    network: Network,
    inputs: np.ndarray,
    *,
    criterion: Criterion | None = None,
    targets: np.ndarray | None = None,
    seed: int = 0,
    samples: int = 30,
) -> list[Derivative]:
    """Compare backward with difference quotients for the input and every parameter.

    Args:
        network: a float64 network, deterministic from call to call (fix dropout's draws).
        inputs: (N, …) float64 array.
        criterion: a loss to end in; without one the upstream gradient is random normal.
        targets: the loss's targets.
        seed: seed of the upstream gradient and of the choice of elements.
        samples: how many elements of each tensor to try at most.

    Returns:
        The worst element of the input and of each parameter.

    Raises:
        ParityError: if the network is not float64 or lacks a part of the protocol.
    """
    check_network(network)
    for name, array in {"the input": inputs, **network.parameters()}.items():
        if array.dtype != np.float64:
            raise ParityError(f"finite differences need float64, and {name} is {array.dtype}")
    rng = np.random.default_rng(seed)
    inputs = inputs.copy()
    output = np.array(network.forward(inputs))
    upstream = rng.standard_normal(output.shape)
    if criterion is not None:
        magnitude = abs(float(criterion.forward(output, targets)))
        upstream = criterion.backward()
    else:
        magnitude = float(np.abs(upstream * output).sum())
    gradients = {"input": np.array(network.backward(upstream))}
    gradients |= {name: np.array(value) for name, value in network.gradients().items()}

    def value() -> float:
        y = network.forward(inputs)
        return float(criterion.forward(y, targets) if criterion else (upstream * y).sum())

    found = []
    for name, array in {"input": inputs, **network.parameters()}.items():
        gradient = gradients[name]
        scale = magnitude + float(np.abs(gradient).max(initial=0.0))
        chosen = rng.permutation(array.size)[:samples]
        found.append(_worst(name, array, gradient, chosen, value, 32 * _EPSILON ** (2 / 3) * scale))
    return found


def assert_derivatives(network: Network, inputs: np.ndarray, **options: Any) -> None:
    """Do as `derivatives`, and raise AssertionError listing every tensor that disagrees."""
    wrong = [d for d in derivatives(network, inputs, **options) if not d.passed]
    if wrong:
        raise AssertionError("\n".join([type(network).__name__, *(f"  {d}" for d in wrong)]))


def _worst(
    name: str,
    array: np.ndarray,
    gradient: np.ndarray,
    chosen: np.ndarray,
    value: Callable[[], float],
    tolerance: float,
) -> Derivative:
    worst: Derivative | None = None
    for flat in chosen:
        index = tuple(int(i) for i in np.unravel_index(flat, array.shape))
        backward = float(gradient[index])
        for shrink in (1, 30):
            numeric = _quotient(array, index, value, shrink)
            error = abs(backward - numeric)
            error = error if np.isfinite(error) else float("inf")
            found = Derivative(name, index, backward, numeric, error, tolerance * shrink)
            if found.passed:
                break
        if worst is None or found.share > worst.share:
            worst = found
    if worst is None:
        raise ParityError(f"{name} has no elements to differentiate")
    return worst


def _quotient(
    array: np.ndarray, index: tuple[int, ...], value: Callable[[], float], shrink: int
) -> float:
    """Return (f(x + h) − f(x − h)) / 2h for one element, which is put back afterwards."""
    before = array[index]
    h = _EPSILON ** (1 / 3) * max(1.0, abs(float(before))) / shrink
    array[index] = before + h
    above, upper = value(), float(array[index])
    array[index] = before - h
    below, lower = value(), float(array[index])
    array[index] = before
    return (above - below) / (upper - lower)
