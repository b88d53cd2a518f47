"""One forward and backward pass of the NumPy side, read out under the names of torch's tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from parity import departures, shared_masks
from parity.protocol import (
    Network,
    NoBackwardError,
    NumpyError,
    ParityError,
    arrays_of,
    kind_of,
    set_mode,
    told,
)
from parity.task import Task, place_of
from parity.tolerance import Place, Tensors
from parity.trees import call_of, mapped, named

ARRAY = (np.ndarray, np.generic)


def run_numpy(network: Network, task: Task, scale: float = 1.0) -> Tensors:
    """Run a NumPy network, as it stands, and return copies of its tensors.

    Where an output's shape is not its upstream gradient's, the outputs alone are returned. The
    gradient that backward is given is multiplied by `scale`.

    Raises:
        NoBackwardError: if it has no backward in evaluation mode.
        NumpyError: if the network or its loss raises an exception.
        ParityError: if it returns something that cannot be compared.
    """
    kind = type(network).__name__
    # Non-finite values are compared, and torch does not warn of them either.
    with shared_masks.on_numpy(network, task.seed), np.errstate(all="ignore"):
        y, tensors = _forward(network, task)
        shapes = {name: leaf.shape for name, leaf in named(y, ARRAY).items()}
        for name, gradient in (task.upstream or {}).items():
            if shapes.get(name) != gradient.shape:
                return tensors
        dy = _upstream(task, y, tensors)
        if not task.forward_only:
            if scale != 1.0:
                dy = mapped(lambda _, leaf: np.asarray(leaf * leaf.dtype.type(scale)), dy, ARRAY)
            dx = _called(f"{kind}.backward", network.backward, dy, optional=not task.train)
            tensors |= _input_gradients(f"{kind}.backward", dx, task)
    if not task.forward_only:
        for name, gradient in arrays_of(network, "gradients").items():
            if gradient is None:
                raise ParityError(
                    f"{kind}.gradients() has None for {name}, which torch's gradient is to be "
                    "compared with: let backward set it"
                )
            tensors[place_of(name, "gradient of ")] = np.array(gradient)
    for name, buffer in arrays_of(network, "buffers").items():
        tensors[place_of(name)] = np.array(buffer)
    return tensors


def run_numpy_forward(network: Network, task: Task) -> None:
    """Run a NumPy network forward, and leave it so."""
    with shared_masks.on_numpy(network, task.seed), np.errstate(all="ignore"):
        _forward(network, task)


def fresh(task: Task) -> Task:
    """Return a task on copies, which the NumPy side may change."""
    targets = None if task.targets is None else np.array(task.targets)
    return replace(task.with_arrays(lambda _, array: array.copy(), np.copy), targets=targets)


def other(task: Task) -> Task:
    """Return a task of the same shapes on other data, to leave stale state behind on purpose.

    The numbers are the inputs' own, in another order, so that none is out of their range:
    floating-point arrays backwards, integers (tokens, lengths) by whole samples, masks as they are.
    """

    def change(_: str, array: np.ndarray) -> np.ndarray:
        if array.dtype.kind == "f":
            return np.array(np.flip(array))
        return array[::-1].copy() if array.dtype.kind in "iu" and array.ndim else array.copy()

    changed = fresh(task).with_arrays(change, lambda dy: np.asarray(np.flip(dy) * dy.dtype.type(2)))
    return replace(changed, seed=task.seed + 1)


def snapshot(network: Network, task: Task) -> Tensors:
    """Return copies of what forward and backward must not change."""
    kept: dict[Place, Any] = {("", f"inputs{name}"): x for name, x in task.arrays.items()}
    kept["", "targets"] = task.targets
    for name, gradient in (task.upstream or {}).items():
        kept["", f"upstream gradient{name}"] = gradient
    for name, parameter in arrays_of(network, "parameters").items():
        kept[place_of(name)] = parameter
    return {place: np.array(value) for place, value in kept.items() if value is not None}


def _forward(network: Network, task: Task) -> tuple[Any, Tensors]:
    set_mode(network, task.train)
    call, what = call_of(task.inputs), f"{type(network).__name__}.forward"
    y = _called(what, network.forward, *call.args, **call.kwargs)
    outputs = named(y, ARRAY)
    if not outputs:
        raise ParityError(f"{what} must return an array, and returns {kind_of(y)}")
    return y, {("", f"output{name}"): np.array(leaf) for name, leaf in outputs.items()}


def _upstream(task: Task, y: Any, tensors: Tensors) -> Any:
    """Return the gradient of the output in its structure, and add a loss's tensors."""
    if task.numpy_criterion is None:
        upstream = task.upstream or {}
        return mapped(lambda name, _: upstream.get(name), y, ARRAY)
    kind, criterion = type(task.numpy_criterion).__name__, task.numpy_criterion
    loss = _called(f"{kind}.forward", criterion.forward, y, task.targets)
    tensors["", "loss"] = np.asarray(loss, dtype=task.dtype)
    if task.forward_only:
        return None
    dy = _called(f"{kind}.backward", criterion.backward)
    gradients = named(dy, ARRAY)
    if not gradients:
        raise ParityError(f"{kind}.backward must return an array, and returns {kind_of(dy)}")
    tensors |= {("", f"gradient of output{name}"): np.array(g) for name, g in gradients.items()}
    return dy


def _input_gradients(what: str, dx: Any, task: Task) -> Tensors:
    """Return the gradients of the floating-point inputs by name, without those that are None.

    Raises:
        ParityError: if it is no array or several, or one of them is expected to be absent.
    """
    for name in departures.absent(task.expect):
        if dx is not None and (isinstance(dx, ARRAY) or named(dx).get(name) is not None):
            raise ParityError(
                f"{what} returns a gradient of input{name}, which is expected to be absent: take "
                "it out of expect"
            )
    floats = [name for name, array in task.arrays.items() if array.dtype.kind == "f"]
    floats = [name for name in floats if name not in task.constants]
    if isinstance(dx, ARRAY):
        if len(floats) > 1:
            raise ParityError(
                f"{what} returns one array for {len(floats)} floating-point inputs: return a tuple "
                "(a dict, for inputs passed by keyword) with a gradient or None for each input"
            )
        return {("", f"gradient of input{name}"): np.array(dx) for name in floats}
    if dx is None:
        return {}
    if not isinstance(dx, tuple | list | dict):
        raise ParityError(f"{what} must return an array, and returns {kind_of(dx)}")
    found = {name: leaf for name, leaf in named(dx).items() if leaf is not None}
    leaves = {name: leaf for name, leaf in found.items() if name not in task.constants}
    if len(floats) == len(leaves) == 1:
        leaves = dict(zip(floats, leaves.values(), strict=True))
    return {("", f"gradient of input{name}"): np.array(leaf) for name, leaf in leaves.items()}


def _called(
    what: str, function: Callable[..., Any], *args: Any, optional: bool = False, **kwargs: Any
) -> Any:
    """Call the NumPy side; an exception of its own becomes one sentence."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        if optional and isinstance(error, NotImplementedError):
            raise NoBackwardError(f"{what} is not implemented in evaluation mode") from error
        raise NumpyError(f"{what} raised {told(error)}") from error
