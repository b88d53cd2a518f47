"""A configured network with its initial weights, and what is read off it."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import torch_models
from training.backends.initialisation import initial_weights
from training.backends.models import build_network
from training.backends.protocol import LayerRow
from training.config.schema import Config


def open_network(config: Config, device: str) -> nn.Module:
    """Build the network on the device and give it its initial weights."""
    net = build_network(torch_models.build, "torch_models", config.model)
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters()}
    values = initial_weights(shapes, config.init, config.seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(torch.from_numpy(values[name]))
    return net.to(device)


@torch.inference_mode()
def layer_table(net: nn.Module, shape: tuple[int, int, int], device: str) -> list[LayerRow]:
    """Run one blank image and note every layer's output."""
    rows: list[LayerRow] = []

    def note(module: nn.Module, _: Any, output: Tensor) -> None:
        count = sum(p.numel() for p in module.parameters())
        rows.append(LayerRow(names[module], type(module).__name__, tuple(output.shape[1:]), count))

    leaves = {n: m for n, m in net.named_modules() if not list(m.children())}
    names = {module: name for name, module in leaves.items()}
    hooks = [module.register_forward_hook(note) for module in leaves.values()]
    net.eval()
    net(torch.zeros(1, *shape, device=device))
    net.train()
    for hook in hooks:
        hook.remove()
    return rows


def copied(value: Tensor) -> NDArray:
    """Return a copy on the host."""
    return value.detach().cpu().numpy().copy()
