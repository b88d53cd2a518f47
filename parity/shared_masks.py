"""Dropout masks shared by both sides: the k-th dropout layer draws the same uniforms on each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from parity.protocol import ParityError

Draw = Callable[[tuple[int, ...]], np.ndarray]


def uniforms(seed: int, layer: int) -> Draw:
    """Return a function that gives float32 uniforms by seed, dropout layer and number of calls."""
    calls = 0

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        nonlocal calls
        calls += 1
        return np.random.default_rng((seed, layer, calls)).random(shape, dtype=np.float32)

    return draw


@contextmanager
def on_torch(module: nn.Module, seed: int) -> Iterator[None]:
    """Let the module's dropout layers, those with an attribute ``draw``, draw afresh from the seed.

    Raises:
        ParityError: if the module holds one of torch's own dropout layers in training mode, whose
            masks cannot be shared.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.training and layer.p > 0:
            raise ParityError(
                f"layer {name or type(layer).__name__} is torch.nn.{type(layer).__name__}, whose "
                "masks cannot be shared: use torch_models.Dropout, or compare in evaluation mode"
            )
    layers = [layer for layer in module.modules() if hasattr(layer, "draw")]
    device = next((p.device for p in module.parameters()), torch.device("cpu"))

    def as_tensors(draw: Draw) -> Callable[[tuple[int, ...]], Tensor]:
        return lambda shape: torch.from_numpy(draw(shape)).to(device)

    with _drawing(layers, [as_tensors(uniforms(seed, k)) for k in range(len(layers))]):
        yield


@contextmanager
def on_numpy(network: Any, seed: int) -> Iterator[None]:
    """Let the network's layers with an attribute ``draw`` draw afresh from the seed."""
    layers = [layer for layer in _with_inner(network) if hasattr(layer, "draw")]
    with _drawing(layers, [uniforms(seed, k) for k in range(len(layers))]):
        yield


def _with_inner(network: Any) -> Iterator[Any]:
    yield network
    members = getattr(network, "layers", None)
    for layer in members.values() if isinstance(members, Mapping) else ():
        yield from _with_inner(layer)


@contextmanager
def _drawing(layers: list[Any], draws: list[Any]) -> Iterator[None]:
    before = [layer.draw for layer in layers]
    for layer, draw in zip(layers, draws, strict=True):
        layer.draw = draw
    try:
        yield
    finally:
        for layer, draw in zip(layers, before, strict=True):
            layer.draw = draw
