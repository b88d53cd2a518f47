"""Tell the layer that is wrong by itself from those that inherit its error."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from parity import tape
from parity.comparison import Comparison, Identity, check_inputs, hold
from parity.noise import layers_of
from parity.protocol import Criterion, Network, ParityError, check_network
from parity.runs import Task, clone, random_upstream, torch_dtype, torch_targets
from parity.transfer import to_array


@dataclass(frozen=True)
class Part:
    """One layer, or the loss, of both sides with what torch gave it forward and backward."""

    layer: str
    kind: str
    module: nn.Module
    network: Any
    task: Task


@dataclass(frozen=True)
class LayerProbe:
    """One layer run alone on torch's own input and upstream gradient.

    Attributes:
        layer: the layer's name.
        kind: its class on the torch side.
        comparison: the verdict on this layer alone.
    """

    layer: str
    kind: str
    comparison: Comparison


def localise(
    torch_module: nn.Module,
    numpy_network: Network,
    inputs: np.ndarray | Tensor,
    targets: np.ndarray | Tensor | None = None,
    *,
    torch_criterion: Callable[[Tensor, Tensor], Tensor] | None = None,
    numpy_criterion: Criterion | None = None,
    train: bool = True,
    seed: int = 0,
    name: str | None = None,
    layers: Mapping[str, Any] | None = None,
) -> list[LayerProbe]:
    """Run every layer alone, and the loss, fed what torch gave that layer forward and backward.

    Args:
        layers: NumPy layer by torch's attribute name; by default ``numpy_network.layers``, or the
            network's attributes of those names. Each is an object of `parity.protocol.Network`.

    The other arguments and the errors are those of `parity.assertions.compare`.

    Returns:
        One probe per layer that both sides have, in torch's calling order, then the loss.
    """
    inputs, targets = to_array(inputs), to_array(targets)
    check_inputs(inputs, numpy_network)
    name = name or type(torch_module).__name__
    torch_module = clone(torch_module, torch_dtype(inputs), train)
    task = Task(inputs, None, targets, torch_criterion, numpy_criterion, train, seed)
    probes = []
    for part in parts(torch_module, numpy_network, task, layers):
        title = f"{name}, loss" if part.layer == "loss" else f"{name}, {part.layer} alone"
        comparison = hold(title, part.module, part.network, part.task)
        probes.append(LayerProbe(part.layer, part.kind, comparison))
    return probes


def parts(
    torch_module: nn.Module, numpy_network: Network, task: Task, layers: Mapping[str, Any] | None
) -> Iterator[Part]:
    """Give every layer that both sides have, in torch's calling order, then the loss.

    The torch module already has the task's dtype and mode.
    """
    members = members_of(torch_module, numpy_network, layers)
    traffic, output = _traffic(torch_module, task)
    for layer, (x, dy) in traffic.items():
        if layer not in members:
            continue
        module = torch_module.get_submodule(layer)
        check_network(members[layer])
        network = copy.deepcopy(members[layer])
        alone = replace(
            task, inputs=x, upstream=dy, targets=None, torch_criterion=None, numpy_criterion=None
        )
        yield Part(layer, type(module).__name__, module, network, alone)
    if task.torch_criterion is not None:
        kind = type(task.numpy_criterion).__name__
        yield Part("loss", kind, nn.Identity(), Identity(), replace(task, inputs=output))


def members_of(
    module: nn.Module, network: Network, layers: Mapping[str, Any] | None
) -> Mapping[str, Any]:
    """Return the NumPy network's layers by torch's names."""
    members = getattr(network, "layers", None) if layers is None else layers
    if isinstance(members, Mapping):
        return _leaves(members)
    names = [name for name in layers_of(module) if name and "." not in name]
    members = {name: getattr(network, name, None) for name in names}
    members = {name: layer for name, layer in members.items() if hasattr(layer, "forward")}
    if not members:
        raise ParityError(
            f"{type(network).__name__} has neither a mapping `layers` nor attributes under torch's "
            "names, so no layer can be run alone: pass layers="
        )
    return members


def _leaves(members: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the members, those that have layers of their own replaced by them, as torch does."""
    found: dict[str, Any] = {}
    for name, layer in members.items():
        inner = getattr(layer, "layers", None)
        if isinstance(inner, Mapping) and inner:
            found |= {f"{name}.{leaf}": member for leaf, member in _leaves(inner).items()}
        else:
            found[name] = layer
    return found


def _traffic(
    module: nn.Module, task: Task
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Return each layer's input and upstream gradient in a torch run, and the network's output."""
    module = copy.deepcopy(module)
    inputs: dict[str, Tensor] = {}
    upstream: dict[str, Tensor] = {}

    def record(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], y: Tensor) -> None:
            inputs[name] = args[0].detach().clone()
            y.register_hook(lambda dy: upstream.update({name: dy.detach().clone()}))

        return hook

    for name, layer in layers_of(module).items():
        layer.register_forward_hook(record(name))
    with tape.on_torch(module, task.seed):
        y = module(torch.from_numpy(task.inputs.copy()).requires_grad_())
    if task.torch_criterion is None:
        y.backward(torch.from_numpy(random_upstream(task, tuple(y.shape))))
    else:
        task.torch_criterion(y, torch_targets(task.targets, y.dtype)).backward()
    traffic = {name: (inputs[name].numpy(), dy.numpy()) for name, dy in upstream.items()}
    return {name: traffic[name] for name in inputs if name in traffic}, y.detach().numpy().copy()
