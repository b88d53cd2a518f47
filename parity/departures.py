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
        for name in (name for name, kind in expect.items() if kind == "biased"):
            layer = module.get_submodule(name.rpartition(".")[0])
            assert isinstance(layer, _BatchNorm)
            before: list[Tensor] = []
            hooks = [
                layer.register_forward_pre_hook(lambda layer, _, kept=before: _keep(layer, kept)),
                layer.register_forward_hook(lambda layer, x, _, kept=before: _bias(layer, x, kept)),
            ]
            for hook in hooks:
                stack.callback(hook.remove)
        yield


def _keep(layer: Any, kept: list[Tensor]) -> None:
    kept[:] = [layer.running_var.clone()]


def _bias(layer: Any, arguments: tuple[Tensor, ...], kept: list[Tensor]) -> None:
    """Divide by n what torch has divided by n − 1."""
    if layer.training:
        n = arguments[0].numel() // arguments[0].shape[1]
        old = kept[0] * (1 - layer.momentum)
        layer.running_var = old + (layer.running_var - old) * ((n - 1) / n)
