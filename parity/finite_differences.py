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

import numpy as np

from parity.protocol import Criterion, Network, ParityError, check_network

_EPSILON = float(np.finfo(np.float64).eps)


def assert_derivatives(
    network: Network,
    inputs: np.ndarray,
    *,
    criterion: Criterion | None = None,
    targets: np.ndarray | None = None,
    seed: int = 0,
    samples: int = 30,
) -> None:
    """Compare backward with difference quotients for the input and every parameter.

    Args:
        network: a float64 network, deterministic from call to call (fix dropout's draws).
        inputs: (N, …) float64 array.
        criterion: a loss to end in; without one the upstream gradient is random normal.
        targets: the loss's targets.
        seed: seed of the upstream gradient and of the choice of elements.
        samples: how many elements of each tensor to try at most.

    Raises:
        AssertionError: with the worst element of each tensor whose gradient is wrong.
        ParityError: if the network is not float64 or lacks a part of the protocol.
    """
    check_network(network)
    inputs = inputs.copy()
    arrays = {"input": inputs, **network.parameters()}
    for name, array in arrays.items():
        if array.dtype != np.float64:
            raise ParityError(f"finite differences need float64, and {name} is {array.dtype}")
    rng = np.random.default_rng(seed)
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

    wrong = []
    for name, array in arrays.items():
        gradient, found = gradients[name], list[tuple[float, str]]()
        scale = magnitude + float(np.abs(gradient).max(initial=0.0))
        for flat in rng.permutation(array.size)[:samples]:
            index = tuple(int(i) for i in np.unravel_index(flat, array.shape))
            found += _difference(array, index, gradient, value, 32 * _EPSILON ** (2 / 3) * scale)
        wrong += [f"  gradient of {name} {told}" for _, told in sorted(found)[-1:]]
    if wrong:
        raise AssertionError("\n".join([type(network).__name__, *wrong]))


def _difference(
    array: np.ndarray,
    index: tuple[int, ...],
    gradient: np.ndarray,
    value: Callable[[], float],
    tolerance: float,
) -> list[tuple[float, str]]:
    """Return the error of one element and a sentence on it; nothing if it is right."""
    backward = float(gradient[index])
    for shrink in (1, 30):
        numeric = _quotient(array, index, value, shrink)
        error = abs(backward - numeric)
        if error <= tolerance * shrink:
            return []
    told = (
        f"at {list(index)}: backward {backward:.9g}, difference quotient {numeric:.9g}, "
        f"error {error:.3g}, tolerance {tolerance * shrink:.3g}"
    )
    return [(error, told)]


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
