"""Dropout masks shared by both sides: the k-th mask drawn is made of the same uniforms on each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

Draw = Callable[[tuple[int, ...]], np.ndarray]


def uniforms(seed: int) -> Draw:
    """Return a function that gives float32 uniforms by seed and number of calls."""
    calls = count(1)
    return lambda shape: np.random.default_rng((seed, next(calls))).random(shape, np.float32)


@contextmanager
def on_torch(module: nn.Module, seed: int) -> Iterator[None]:
    """Let dropout draw afresh from the seed.

    That is layers with an attribute ``draw``, torch.nn.Dropout and torch.nn.functional.dropout,
    with their kinds for whole channels. An element is kept where its uniform exceeds p.
    """
    draw = uniforms(seed)
    layers = [layer for layer in module.modules() if hasattr(layer, "draw")]
    device = next((p.device for p in module.parameters()), torch.device("cpu"))

    def as_tensor(shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(draw(shape)).to(device)

    def dropping(channels: bool) -> Callable[..., Tensor]:
        def dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False):
            if not training or p == 0:
                return x
            shape = (*x.shape[:2], *[1] * (x.ndim - 2)) if channels else tuple(x.shape)
            mask = (as_tensor(shape) > p).to(x) / (1 - p if p < 1 else 1)
            return x.mul_(mask) if inplace else x * mask

        return dropout

    with ExitStack() as stack:
        for name in ("dropout", "dropout1d", "dropout2d", "dropout3d"):
            function = dropping(channels=name != "dropout")
            stack.enter_context(patch.object(nn.functional, name, function))
        stack.enter_context(_drawing(layers, as_tensor))
        yield


@contextmanager
def on_numpy(network: Any, seed: int) -> Iterator[None]:
    """Let the network's layers with an attribute ``draw``, or its torch module, draw afresh."""
    network = getattr(network, "wrapped", network)
    if isinstance(getattr(network, "module", None), nn.Module):
        with on_torch(network.module, seed):
            yield
        return
    layers = [layer for layer in _with_inner(network) if hasattr(layer, "draw")]
    with _drawing(layers, uniforms(seed)):
        yield


def _with_inner(network: Any) -> Iterator[Any]:
    yield network
    members = getattr(network, "layers", None)
    if not isinstance(members, Mapping):
        members = {n: v for n, v in getattr(network, "__dict__", {}).items() if hasattr(v, "draw")}
    for layer in members.values():
        yield from _with_inner(layer)


@contextmanager
def _drawing(layers: list[Any], draw: Any) -> Iterator[None]:
    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(patch.object(layer, "draw", draw))
        yield
