"""Mistakes in how a network shows its parameters: names, layouts, dtypes, copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numpy_models import Sequential
from parity.faults.record import Ledger, Plant, network_becomes

Arrays = dict[str, np.ndarray]


def showing(change: Callable[[Arrays], Any], methods: Sequence[str] = ("parameters",)) -> Plant:
    """Plant a change to what these methods of the network return, before anybody sees it."""

    def changed(method: str) -> Callable[[Sequential], Arrays]:
        def read(self: Sequential) -> Arrays:
            arrays = getattr(Sequential, method)(self)
            change(arrays)
            return arrays

        return read

    return network_becomes(
        type("Showing", (Sequential,), {name: changed(name) for name in methods})
    )


fault = Ledger("transfer", how=showing)
FAULTS = fault.faults


def changed(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Arrays], Any]:
    """Show one array changed."""
    return lambda arrays: arrays.update({name: change(arrays[name])})


def exchanged(first: str, second: str) -> Callable[[Arrays], Any]:
    """Show two arrays under each other's name."""
    return lambda arrays: arrays.update({first: arrays[second], second: arrays[first]})


def copied(arrays: Arrays) -> None:
    """Show copies of all arrays."""
    arrays.update({name: array.copy() for name, array in arrays.items()})


BOTH, GRADIENTS, BUFFERS = ("parameters", "gradients"), ("gradients",), ("buffers",)

fault("weight stored (in, out)", "f6.weight", methods=BOTH)(changed("f6.weight", np.transpose))
fault("kernel stored HWIO", "c3.weight", methods=BOTH)(
    changed("c3.weight", lambda w: w.transpose(2, 3, 1, 0))
)
fault("square weight shown transposed", "f6.weight", "overlapping")(
    changed("f6.weight", np.transpose)
)
fault("square kernel shown transposed", "c1.weight", methods=BOTH)(
    changed("c1.weight", lambda w: w.swapaxes(2, 3))
)
fault("γ and β exchanged", "bn2.weight", "lenet5_bn", methods=BOTH)(
    exchanged("bn2.weight", "bn2.bias")
)
fault("running mean and variance exchanged", "bn4.running_mean", "lenet5_bn", methods=BUFFERS)(
    exchanged("bn4.running_mean", "bn4.running_var")
)
fault("gradients of two biases exchanged", "c1.bias", "lenet5_bn", methods=GRADIENTS)(
    exchanged("bn2.bias", "c1.bias")
)
fault("bias missing", "out.bias")(lambda arrays: arrays.pop("out.bias"))
fault("gradient missing", "out", methods=GRADIENTS)(lambda arrays: arrays.pop("out.bias"))
fault("buffer missing", "bn2.running_var", "lenet5_bn", methods=BUFFERS)(
    lambda arrays: arrays.pop("bn2.running_var")
)
fault("parameter too many", "out.scale")(
    lambda arrays: arrays.update({"out.scale": arrays["out.bias"]})
)
fault("parameter in double precision", "c5.bias")(
    changed("c5.bias", lambda b: b.astype(np.float64))
)
fault("weight flattened", "c1.weight")(changed("c1.weight", np.ravel))
fault("copies shown for parameters", "c1.weight")(copied)
fault("copies shown for buffers", "bn2.running_mean", "lenet5_bn", methods=BUFFERS)(copied)
