"""Tell the layer that is wrong by itself from those that inherit its error."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from parity import shared_masks
from parity.comparison import Identity, LayerProbe, hold
from parity.perturbation import layers_of
from parity.protocol import Network, ParityError, check_network
from parity.runs import Setting, Task, torch_targets


def probes(setting: Setting) -> list[LayerProbe]:
    """Hold every layer alone, and the loss, on what torch gave it forward and backward.

    Raises:
        ParityError: if no layer can be run alone.
    """
    return [LayerProbe(part.layer, kind_of_part(part), hold(part)) for part in parts(setting)]


def kind_of_part(part: Setting) -> str:
    """Return the class of a layer on the torch side, or of the loss on NumPy's."""
    if part.layer == "loss":
        return type(part.task.numpy_criterion).__name__
    return type(part.module).__name__


def parts(setting: Setting) -> Iterator[Setting]:
    """Give every layer that both sides have, in torch's calling order, then the loss."""
    members = members_of(setting.module, setting.network, setting.layers)
    task = setting.task
    traffic, output = _traffic(setting.module, task)
    for layer, (x, dy) in traffic.items():
        if layer not in members:
            continue
        check_network(members[layer])
        network = copy.deepcopy(members[layer])
        alone = replace(
            task, inputs=x, upstream=dy, targets=None, torch_criterion=None, numpy_criterion=None
        )
        module = setting.module.get_submodule(layer)
        yield Setting(f"{setting.name}, {layer} alone", module, network, alone, layer=layer)
    if task.torch_criterion is not None:
        loss = replace(task, inputs=output)
        yield Setting(f"{setting.name}, loss", nn.Identity(), Identity(), loss, layer="loss")


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
    with shared_masks.on_torch(module, task.seed):
        y = module(torch.from_numpy(task.inputs.copy()).requires_grad_())
    if task.torch_criterion is None:
        y.backward(torch.tensor(task.upstream))
    else:
        task.torch_criterion(y, torch_targets(task.targets, y.dtype)).backward()
    traffic = {name: (inputs[name].numpy(), dy.numpy()) for name, dy in upstream.items()}
    return {name: traffic[name] for name in inputs if name in traffic}, y.detach().numpy().copy()
