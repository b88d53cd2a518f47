"""Mistakes in how a network shows its parameters: names, layouts, dtypes, copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numpy_models import Sequential
from parity.faults.record import Fault, network_becomes

Arrays = dict[str, np.ndarray]


def showing(change: Callable[[Arrays], Any], *methods: str) -> type[Sequential]:
    """Return a network class whose named arrays are changed before anybody sees them."""

    def changed(method: str) -> Callable[[Sequential], Arrays]:
        def read(self: Sequential) -> Arrays:
            arrays = getattr(Sequential, method)(self)
            change(arrays)
            return arrays

        return read

    return type("Showing", (Sequential,), {method: changed(method) for method in methods})


def transposed(name: str) -> Callable[[Arrays], Any]:
    """Show one array transposed."""
    return lambda arrays: arrays.update({name: arrays[name].T})


def reordered(name: str, *axes: int) -> Callable[[Arrays], Any]:
    """Show one array with its axes in another order."""
    return lambda arrays: arrays.update({name: arrays[name].transpose(axes)})


def exchanged(first: str, second: str) -> Callable[[Arrays], Any]:
    """Show two arrays under each other's name."""
    return lambda arrays: arrays.update({first: arrays[second], second: arrays[first]})


def copied(arrays: Arrays) -> None:
    """Show copies of all arrays."""
    arrays.update({name: array.copy() for name, array in arrays.items()})


def _fault(
    name: str,
    culprit: str,
    change: Callable[[Arrays], Any],
    *methods: str,
    scene: str = "lenet5_relu",
) -> Fault:
    return Fault(name, "transfer", culprit, scene, network_becomes(showing(change, *methods)))


_BOTH = ("parameters", "gradients")

FAULTS = [
    _fault("weight stored (in, out)", "f6.weight", transposed("f6.weight"), *_BOTH),
    _fault("kernel stored HWIO", "c3.weight", reordered("c3.weight", 2, 3, 1, 0), *_BOTH),
    _fault(
        "square weight shown transposed",
        "f6.weight",
        transposed("f6.weight"),
        "parameters",
        scene="overlapping",
    ),
    _fault(
        "square kernel shown transposed",
        "c1.weight",
        reordered("c1.weight", 0, 1, 3, 2),
        *_BOTH,
    ),
    _fault(
        "γ and β exchanged",
        "bn2.weight",
        exchanged("bn2.weight", "bn2.bias"),
        *_BOTH,
        scene="lenet5_bn",
    ),
    _fault(
        "running mean and variance exchanged",
        "bn4.running_mean",
        exchanged("bn4.running_mean", "bn4.running_var"),
        "buffers",
        scene="lenet5_bn",
    ),
    _fault("bias missing", "out.bias", lambda a: a.pop("out.bias"), "parameters"),
    _fault("gradient missing", "out", lambda a: a.pop("out.bias"), "gradients"),
    _fault(
        "gradients of two biases exchanged",
        "c1.bias",
        exchanged("bn2.bias", "c1.bias"),
        "gradients",
        scene="lenet5_bn",
    ),
    _fault(
        "buffer missing",
        "bn2.running_var",
        lambda a: a.pop("bn2.running_var"),
        "buffers",
        scene="lenet5_bn",
    ),
    _fault(
        "parameter too many",
        "out.scale",
        lambda a: a.update({"out.scale": a["out.bias"]}),
        "parameters",
    ),
    _fault(
        "parameter in double precision",
        "c5.bias",
        lambda a: a.update({"c5.bias": a["c5.bias"].astype(np.float64)}),
        "parameters",
    ),
    _fault(
        "weight flattened",
        "c1.weight",
        lambda a: a.update({"c1.weight": a["c1.weight"].ravel()}),
        "parameters",
    ),
    _fault("copies shown for parameters", "c1.weight", copied, "parameters"),
    _fault("copies shown for buffers", "bn2.running_mean", copied, "buffers", scene="lenet5_bn"),
]
