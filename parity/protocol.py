"""What parity requires of a NumPy network, a NumPy loss and a NumPy optimizer: the whole contract.

Anything with these methods can be compared; it need not come from `numpy_models`. Parameters are
named and laid out as in the torch module's ``state_dict`` (convolutions OIHW, linear layers
(out, in)).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from traceback import walk_tb
from typing import Any, Protocol, runtime_checkable

import numpy as np


class ParityError(ValueError):
    """The pair cannot be compared; one sentence says why and what its owner can do."""


def kind_of(value: object) -> str:
    """Return the name of a value's class with its article, for example "an int"."""
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


class NumpyError(ParityError):
    """The NumPy side raised an exception of its own, which is this one's cause."""


class NoBackwardError(NumpyError):
    """The NumPy side has no backward in this mode: its forward alone can be judged."""


class DisagreementError(AssertionError):
    """The two sides differ; the message names the culprit first.

    Attributes:
        culprits: names of what is wrong by itself: layers, "loss", "optimizer" or "schedule".
        finding: the `Comparison` or `Trajectory` that failed.
    """

    def __init__(self, message: str, culprits: Sequence[str], finding: Any) -> None:
        super().__init__(message)
        self.culprits, self.finding = list(culprits), finding


@runtime_checkable
class Network(Protocol):
    """A layer or a stack of layers. Arrays have torch's shapes and the parameters' dtype.

    ``train()`` and ``eval()`` are used where they exist, and so are optional attributes: a mapping
    ``layers`` (name to layer), or layers as attributes under torch's names, to find the culprit;
    ``draw`` on a dropout layer to share masks.

    A side without `backward`, or with None in its place, is judged by its forward pass alone, and
    needs no `gradients`; so is one whose backward raises NotImplementedError in evaluation mode.
    """

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the output, an array or a tuple, list or dict of arrays; change no argument.

        The arguments are those of the torch module: floating-point arrays, integers, None.
        """
        ...

    def backward(self, dy: Any, /) -> Any:
        """Return the inputs' gradients and set (never add to) the parameters' gradients.

        Args:
            dy: the gradient of the output, in the output's structure; None for what torch gives no
                gradient.

        Returns:
            The gradient of the one floating-point input, or a tuple (a dict, for inputs passed by
            keyword) of the inputs' form, with None where an input has no gradient.
        """
        ...

    def parameters(self) -> dict[str, np.ndarray]:
        """Return the parameters themselves, not copies: weights are transferred into them."""
        ...

    def gradients(self) -> dict[str, np.ndarray]:
        """Return one gradient for each parameter, under the same names.

        A parameter with two names (tied weights) has its gradient under either of them, or under
        both: the whole gradient, or each name's share of it.
        """
        ...

    def buffers(self) -> dict[str, np.ndarray]:
        """Return state that is saved but not trained, such as running means; not copies."""
        ...


@runtime_checkable
class Criterion(Protocol):
    """A loss with mean reduction."""

    def forward(self, outputs: np.ndarray, targets: Any, /) -> Any:
        """Return the loss, a scalar."""
        ...

    def backward(self) -> np.ndarray:
        """Return the gradient of the last loss with respect to the outputs."""
        ...


class Optimizer(Protocol):
    """An optimizer bound to a NumPy network."""

    lr: float

    def step(self) -> None:
        """Update the network's parameters from its gradients."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return "step", "lr" and arrays named "<state>.<parameter>", with torch's state names."""
        ...


class Identity:
    """The network whose outputs are its inputs, to run a loss alone."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return a copy of x."""
        return x.copy()

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Return dy."""
        return dy

    def parameters(self) -> dict[str, np.ndarray]:
        """Return no arrays."""
        return {}

    gradients = buffers = parameters


def check_network(network: Any) -> None:
    """Raise ParityError, naming what is missing, unless network has the protocol's methods."""
    needed = ["forward", "parameters", "buffers"]
    if not without_backward(network):
        needed[1:1] = ["backward", "gradients"]
    missing = [name for name in needed if not callable(getattr(network, name, None))]
    if missing:
        raise ParityError(
            f"{type(network).__name__} cannot be compared: it needs the method"
            f"{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
        )


def without_backward(network: Any) -> str:
    """Return in words that a NumPy side has no backward; nothing if it has one."""
    missing = getattr(network, "backward", None) is None
    return f"{type(network).__name__} has no backward" if missing else ""


def arrays_of(network: Any, method: str) -> dict[str, Any]:
    """Return the result of a network's `parameters`, `gradients` or `buffers`; {} for None.

    Raises:
        NumpyError: if that raises an exception.
        ParityError: if it is not a dict.
    """
    what = f"{type(network).__name__}.{method}()"
    try:
        found = getattr(network, method)()
    except Exception as error:
        raise NumpyError(f"{what} raised {type(error).__name__}: {first_line(error)}") from error
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise ParityError(f"{what} must return a dict of arrays, and returns {kind_of(found)}")
    return dict(found)


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message."""
    return (str(error).strip().splitlines() or ["no message"])[0]


def told(error: BaseException) -> str:
    """Return an exception's class, where it was raised, and the first line of its message."""
    *_, (frame, line) = walk_tb(error.__traceback__)
    place = f"{Path(frame.f_code.co_filename).name}:{line}"
    return f"{type(error).__name__} at {place}: {first_line(error)}"


def set_mode(network: Any, train: bool) -> None:
    """Put a network in training or evaluation mode if it knows modes."""
    switch = getattr(network, "train" if train else "eval", None)
    if callable(switch):
        switch()
