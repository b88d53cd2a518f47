"""Rounding errors modelled on the float64 reference: the floor of `parity.tolerance`'s rule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import sqrt
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class InnerDimensions(NamedTuple):
    """The longest sum of a layer going forward, 0 where it only selects, and going backward."""

    forward: int
    backward: int


def layers_of(module: nn.Module) -> dict[str, nn.Module]:
    """Return, by name, the modules that compute: those without children or with own parameters."""
    return {
        name: layer
        for name, layer in module.named_modules()
        if not any(layer.children()) or any(layer.parameters(recurse=False))
    }


@contextmanager
def observed(module: nn.Module) -> Iterator[dict[str, InnerDimensions]]:
    """Give a dict that a forward pass fills with each layer's inner dimensions, in call order."""
    seen: dict[str, InnerDimensions] = {}
    handles = [
        layer.register_forward_hook(
            lambda layer, args, y, name=name: seen.update({name: _inner_dimensions(layer, args, y)})
        )
        for name, layer in layers_of(module).items()
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def perturbed(
    module: nn.Module,
    dimensions: dict[str, InnerDimensions],
    epsilon: float,
    probe: int,
    parameters: bool = True,
) -> Iterator[None]:
    """Make a float64 module compute with operands off by 1 ± √n·epsilon; probe picks the signs.

    The module's parameters, where included, are changed for good: pass a copy.
    """
    handles = []
    for name, layer in layers_of(module).items():
        if name not in dimensions:
            continue
        forward = epsilon * sqrt(dimensions[name].forward)
        backward = epsilon * sqrt(dimensions[name].backward)
        with torch.no_grad():
            for parameter in layer.parameters(recurse=False) if parameters else ():
                parameter.copy_(nudge(parameter, forward, probe))
        handles += [
            layer.register_forward_pre_hook(
                lambda _, args, size=forward: tuple(nudge(x, size, probe) for x in args)
            ),
            layer.register_forward_hook(
                lambda _, args, y, size=backward: nudge_gradient(y, size, probe)
            ),
        ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def nudge(x: Any, size: float, probe: int) -> Any:
    """Return x·(1 ± size) for a floating-point tensor, with the identity as its derivative."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        return x
    change = signs(x, probe).mul_(x.detach()).mul_(size)
    return x + change.nan_to_num_(0.0, 0.0, 0.0)


def nudge_gradient(y: Any, size: float, probe: int, terms: float = 0.0) -> Any:
    """Make the gradient g that will arrive at y become g ± size·(|g| + terms); return y.

    Args:
        y: a layer's output; anything but a tensor with a gradient is returned as it is.
        size: relative change.
        probe: picks the signs.
        terms: magnitude of what cancels inside g, where g is a difference.
    """

    def change(gradient: Tensor) -> Tensor:
        return nudge(gradient, size, probe) + signs(gradient, probe) * size * terms

    if isinstance(y, Tensor) and y.requires_grad:
        y.register_hook(change)
    return y


def nudge_logits(logits: Tensor, targets: Tensor, epsilon: float, probe: int) -> Tensor:
    """Treat a loss as a layer: change its operand, and the gradient it sends back.

    For class indices the gradient of a mean cross-entropy is a difference (p − q)/N, whose terms
    are of size 1/N however small it is itself.
    """
    size = epsilon * sqrt(logits[:1].numel())
    terms = 0.0 if targets.is_floating_point() else 1 / max(len(logits), 1)
    return nudge_gradient(nudge(logits, size, probe), size, probe, terms)


def signs(x: Tensor, probe: int) -> Tensor:
    """Return ±1 for each element of a float64 tensor, by a hash of its value, sample and probe.

    Equal values of one sample get equal signs, as equal operands get equal roundings; so exact
    ties survive.
    """
    sample = torch.arange(x.shape[0] if x.ndim else 1, device=x.device)
    sample = sample.reshape(-1, *[1] * (x.ndim - 1)) if x.ndim else sample[0]
    key = x.detach().to(torch.float64).contiguous().view(torch.int64)
    key = (key ^ (sample * 1000003 + probe * 8191 + 1)).mul_(-7046029254386353131)
    key ^= key >> 29
    key.mul_(-4658895280553007687).bitwise_right_shift_(40).bitwise_and_(1).mul_(2).sub_(1)
    return key.to(x.dtype)


def _inner_dimensions(layer: nn.Module, args: tuple[Any, ...], y: Any) -> InnerDimensions:
    x = next((a for a in args if isinstance(a, Tensor)), None)
    if x is None or not isinstance(y, Tensor) or not x.numel() or not y.numel():
        return InnerDimensions(1, 1)
    parameters = [p for p in layer.parameters(recurse=False) if p.numel()]
    weights = [p for p in parameters if p.ndim > 1]
    statistics = x.numel() // x.shape[1] if isinstance(layer, _BatchNorm) else 1
    window = max(x.numel() // y.numel(), 1)
    fan_in = max((p[0].numel() for p in weights), default=1)
    fan_out = max((p.numel() // p.shape[1] for p in weights), default=1)
    positions = max((y.numel() // p.shape[0] for p in parameters), default=1)
    return InnerDimensions(
        forward=0 if _selects(x, y) else max(fan_in, window, statistics),
        backward=max(fan_out, positions, window, statistics),
    )


def _selects(x: Tensor, y: Tensor) -> bool:
    """Return whether y holds nothing but elements of x up to their sign, and zeros."""
    selected = torch.isin(y.detach().abs(), x.detach().abs()) | (y == 0)
    return bool(selected.all() and y.any())  # of zeros alone nothing can be told
