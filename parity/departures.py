"""Departures from torch that are meant: the torch side is made to depart likewise, and all is held.

``expect={"bn.running_var": "biased"}`` says that NumPy's running variance averages the variance
divided by n where torch divides by n − 1. Whoever departs in another way, or not at all, disagrees.
``expect={"gradient of input": "absent"}`` says that NumPy's backward stops at the parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from parity.protocol import ParityError

KINDS = ("biased", "absent")
_INPUT = "gradient of input"


def check(module: nn.Module, expect: Mapping[str, str]) -> None:
    """Raise ParityError unless every departure is known and its tensor one it applies to."""
    for name, kind in expect.items():
        layer, _, tensor = name.rpartition(".")
        if kind not in KINDS:
            raise ParityError(f"expect: {name} is {kind!r}, and known are {', '.join(KINDS)}")
        if (kind == "absent") is not name.startswith(_INPUT):
            raise ParityError(f"expect: {name} cannot be {kind}: absent is for a {_INPUT}")
        if kind == "absent":
            continue
        found = dict(module.named_modules()).get(layer)
        if tensor != "running_var" or not isinstance(found, _BatchNorm) or not found.momentum:
            raise ParityError(
                f"expect: {name} cannot be biased: that is for the running_var of a batch "
                "normalisation with a momentum"
            )


def absent(expect: Mapping[str, str]) -> frozenset[str]:
    """Return the inputs, by name, of which NumPy takes no gradient."""
    return frozenset(n.removeprefix(_INPUT) for n, kind in expect.items() if kind == "absent")


@contextmanager
def applied(module: nn.Module, expect: Mapping[str, str]) -> Iterator[None]:
    """Make a module depart as expected."""
    with ExitStack() as stack:
        for name, kind in expect.items():
            if kind == "biased":
                layer = module.get_submodule(name.rpartition(".")[0])
                stack.enter_context(layer.register_forward_hook(_bias))
        yield


def _bias(layer: Any, arguments: tuple[Tensor, ...], _: Tensor) -> None:
    """Let the variance count that is divided by n, where torch has divided by n − 1."""
    if layer.training:
        channels = arguments[0].detach().transpose(0, 1).flatten(1)
        layer.running_var = layer.running_var - layer.momentum * channels.var(1) / len(channels[0])
