"""Rounding errors modelled on the float64 reference: the floor of `parity.tolerance`'s rule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from parity.trees import mapped, named

_OPAQUE = (nn.RNNBase, nn.MultiheadAttention)
"""Layers that compute in several steps out of sight."""


class InnerDimensions(NamedTuple):
    """The longest sum of a layer going forward, 0 where it only selects, and going backward."""

    forward: int
    backward: int


class Probe(NamedTuple):
    """A rounding experiment: what `observed` saw, the tested dtype's epsilon, what picks signs."""

    dimensions: dict[str, InnerDimensions]
    epsilon: float
    number: int


def layers_of(module: nn.Module) -> dict[str, nn.Module]:
    """Return, by name, the modules that compute: those without children or with own parameters."""
    return {
        name: layer
        for name, layer in module.named_modules()
        if not any(True for _ in layer.children())
        or any(True for _ in layer.parameters(recurse=False))
    }


@contextmanager
def observed(module: nn.Module) -> Iterator[dict[str, InnerDimensions]]:
    """Give a dict that a forward pass fills with each layer's inner dimensions, in call order."""
    seen: dict[str, InnerDimensions] = {}

    def note(name: str) -> Any:
        def hook(layer: nn.Module, args: Any, kwargs: Any, y: Any) -> None:
            found = _inner_dimensions(layer, (args, kwargs), y)
            seen[name] = InnerDimensions(*map(max, found, seen.get(name, found)))

        return hook

    with ExitStack() as stack:
        for name, layer in layers_of(module).items():
            stack.enter_context(layer.register_forward_hook(note(name), with_kwargs=True))
        yield seen


@contextmanager
def perturbed(module: nn.Module, probe: Probe, parameters: bool = True) -> Iterator[None]:
    """Make a float64 module compute with operands off by 1 ± √n·epsilon.

    The module's parameters, where included, are changed for good: pass a copy.
    """
    dimensions, epsilon, number = probe
    with ExitStack() as stack:
        for name, layer in layers_of(module).items():
            if name not in dimensions:
                continue
            forward = epsilon * sqrt(dimensions[name].forward)
            backward = epsilon * sqrt(dimensions[name].backward)
            with torch.no_grad():
                for parameter in _used(layer, name, dimensions) if parameters else ():
                    parameter.copy_(nudge(parameter, forward, number))

            def change(_: nn.Module, args: Any, kwargs: Any, size: float = forward) -> Any:
                return mapped(lambda _, x: nudge(x, size, number), (args, kwargs), Tensor)

            def change_gradient(_: nn.Module, args: Any, y: Any, size: float = backward) -> None:
                for leaf in named(y, Tensor).values():
                    nudge_gradient(leaf, size, number)

            stack.enter_context(layer.register_forward_pre_hook(change, with_kwargs=True))
            stack.enter_context(layer.register_forward_hook(change_gradient))
        yield


def _used(
    layer: nn.Module, name: str, dimensions: dict[str, InnerDimensions]
) -> Iterator[nn.Parameter]:
    """Give a layer's own parameters, and those of the layers inside that are never called."""
    yield from layer.parameters(recurse=False)
    for inner, child in layer.named_children():
        if f"{name}.{inner}".removeprefix(".") not in dimensions:
            yield from child.parameters()


def nudge(x: Any, size: float, probe: int) -> Any:
    """Return x·(1 ± size) for a floating-point tensor, with the identity as its derivative."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        return x
    change = signs(x, probe)
    with np.errstate(all="ignore"):
        change *= _numbers(x)
        change *= size
    change[~np.isfinite(change)] = 0.0
    return x + torch.from_numpy(change).to(x.dtype)


def nudge_gradient(y: Any, size: float, probe: int, terms: float = 0.0) -> Any:
    """Make the gradient g that will arrive at y become g ± size·(|g| + terms); return y.

    Args:
        y: a layer's output; anything but a tensor with a gradient is returned as it is.
        size: relative change.
        probe: picks the signs.
        terms: magnitude of what cancels inside g, where g is a difference.
    """

    def change(gradient: Tensor) -> Tensor:
        moved = nudge(gradient, size, probe)
        if not terms:
            return moved
        apart = np.asarray(signs(gradient, probe) * size * terms)  # a number where there is no axis
        return moved + torch.from_numpy(apart).to(moved.dtype)

    if isinstance(y, Tensor) and y.requires_grad:
        y.register_hook(change)
    return y


def nudge_logits(logits: Tensor, targets: Tensor, probe: Probe) -> Tensor:
    """Treat a loss as a layer: change its operand, and the gradient it sends back.

    For class indices the gradient of a mean cross-entropy is a difference (p − q)/N, whose terms
    are of size 1/N however small it is itself.
    """
    samples = max(len(logits), 1) if logits.ndim else 1
    size = probe.epsilon * sqrt(logits.numel() / samples)
    terms = 0.0 if targets.is_floating_point() else 1 / samples
    return nudge_gradient(nudge(logits, size, probe.number), size, probe.number, terms)


def signs(x: Tensor, probe: int) -> np.ndarray:
    """Return ±1 for each element of a tensor, in float64, by a hash of its value, sample and probe.

    Equal values of one sample get equal signs, as equal operands get equal roundings; so exact
    ties survive. Computed in NumPy, where no `TorchDispatchMode` looks at every operation.
    """
    key = _numbers(x).view(np.int64)
    sample = (
        np.arange(len(x)).reshape(-1, *[1] * (x.ndim - 1)) if x.ndim else np.zeros((), np.int64)
    )
    with np.errstate(over="ignore"):
        key = key ^ (sample * 1000003 + probe * 8191 + 1)
        key *= np.int64(-7046029254386353131)
        key ^= key >> 29
        key *= np.int64(-4658895280553007687)
    return np.asarray((key >> 40 & 1) * 2.0 - 1.0)


def _numbers(x: Tensor) -> np.ndarray:
    return x.detach().to(torch.float64).numpy()


def _inner_dimensions(layer: nn.Module, arguments: Any, outputs: Any) -> InnerDimensions:
    x, y = (
        next((t for t in named(tree, Tensor).values() if t.is_floating_point()), None)
        for tree in (arguments, outputs)
    )
    if x is None or y is None or not x.numel() or not y.numel():
        return InnerDimensions(1, 1)
    opaque = isinstance(layer, _OPAQUE)
    parameters = [p for p in layer.parameters(recurse=opaque) if p.numel()]
    weights = [p for p in parameters if p.ndim > 1]
    statistics = x.numel() // x.shape[1] if isinstance(layer, _BatchNorm) else 1
    window = max(x.numel() // y.numel(), 1)
    fan_in = max((p[0].numel() for p in weights), default=1)
    fan_out = max((p.numel() // p.shape[1] for p in weights), default=1)
    positions = max((y.numel() // (*p.shape, 1)[0] for p in parameters), default=1)
    if opaque:  # sums over time steps or positions besides
        positions = x.numel() // x.shape[-1]
        window = max(window, *x.shape[:-1])
    return InnerDimensions(
        forward=0 if _selects(x, y) else max(fan_in, window, statistics),
        backward=max(fan_out, positions, window, statistics),
    )


def _selects(x: Tensor, y: Tensor) -> bool:
    """Return whether y holds nothing but elements of x up to their sign, and zeros."""
    x, y = x.detach().abs(), y.detach().flatten().abs()
    # Of what computes, a few elements tell already.
    selects = all(bool((torch.isin(part, x) | (part == 0)).all()) for part in (y[:16], y))
    return selects and bool(y.any())  # of zeros alone nothing can be told
