"""Random numbers for the dropout layers, the same on every device and in every mode."""

from __future__ import annotations

from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor, nn

import torch_models
from training.backends.streams import stream
from training.backends.torch.networks import layer_table

Shape = tuple[int, ...]


class DropoutMasks:
    """Uniforms drawn on the host into buffers on the device, from where the layers take them.

    The network's `torch_models.Dropout` layers are fed in their order. The buffers keep their
    places, so that a CUDA graph that reads them finds fresh numbers at every replay.
    """

    def __init__(
        self, net: nn.Module, seed: int, device: str, image_shape: tuple[int, int, int]
    ) -> None:
        self._net, self._seed, self._device = net, seed, device
        self._image_shape = image_shape
        found = {n: m for n, m in net.named_modules() if isinstance(m, torch_models.Dropout)}
        self._names = list(found)
        self._buffers: dict[tuple[str, Shape], Tensor] = {}
        for name, layer in found.items():
            layer.draw = partial(self._buffer, name)

    @cached_property
    def _shapes(self) -> dict[str, Shape]:
        """The shape of one image's activation at each layer."""
        rows = layer_table(self._net, self._image_shape, self._device)
        return {row.name: row.shape for row in rows}

    def draw(self, step: int, size: int, part: slice = slice(None)) -> None:
        """Draw the numbers of a step of the run for its batch of `size` images; keep a part."""
        if not self._names:
            return
        generator = stream(self._seed, "dropout", step)
        for name in self._names:
            drawn = generator.random((size, *self._shapes[name]), np.float32)[part]
            uniforms = torch.from_numpy(drawn)
            buffer = self._buffer(name, tuple(uniforms.shape))
            if buffer.is_cuda:
                uniforms = uniforms.pin_memory()
            buffer.copy_(uniforms, non_blocking=True)

    def _buffer(self, name: str, shape: Shape) -> Tensor:
        key = name, shape
        if key not in self._buffers:
            self._buffers[key] = torch.empty(shape, device=self._device)
        return self._buffers[key]
