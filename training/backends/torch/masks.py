"""Random numbers for the dropout layers, the same on every device and in every mode."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import torch_models
from training.backends.streams import stream

Shape = tuple[int, ...]


class DropoutMasks:
    """Uniforms drawn on the host into buffers on the device, from where the layers take them.

    The buffers keep their places, so that a CUDA graph that reads them finds fresh numbers at
    every replay.

    Args:
        net: the network, whose `torch_models.Dropout` layers are fed in their order.
        seed: the run's.
        device: where the buffers are.
        image_shape: (C, H, W) of the network's input.
    """

    def __init__(self, net: nn.Module, seed: int, device: str, image_shape: Shape) -> None:
        self._net, self._seed, self._device = net, seed, device
        self._image_shape = image_shape
        self._layers = [m for m in net.modules() if isinstance(m, torch_models.Dropout)]
        self._buffers: dict[tuple[int, Shape], Tensor] = {}
        self._shapes: list[Shape] | None = None
        for number, layer in enumerate(self._layers):
            layer.draw = partial(self._buffer, number)

    def __bool__(self) -> bool:
        return bool(self._layers)

    def draw(self, step: int, size: int, part: slice = slice(None)) -> None:
        """Draw a step's numbers.

        Args:
            step: of the run, counted from 0.
            size: images in the step's batch.
            part: those of its images that are trained on here.
        """
        if not self._layers:
            return
        shapes = [(size, *shape) for shape in self._sample_shapes()]
        for number, drawn in enumerate(self._draw(step, shapes, part)):
            uniforms = torch.from_numpy(drawn)
            buffer = self._buffer(number, tuple(uniforms.shape))
            if buffer.is_cuda:
                uniforms = uniforms.pin_memory()
            buffer.copy_(uniforms, non_blocking=True)

    def _draw(self, step: int, shapes: list[Shape], part: slice) -> list[NDArray[np.float32]]:
        """Return the numbers of each layer, of whose activation the shape is given."""
        generator = stream(self._seed, "dropout", step)
        return [generator.random(shape, np.float32)[part] for shape in shapes]

    def _buffer(self, number: int, shape: Shape) -> Tensor:
        key = number, shape
        if key not in self._buffers:
            self._buffers[key] = torch.empty(shape, device=self._device)
        return self._buffers[key]

    @torch.no_grad()
    def _sample_shapes(self) -> list[Shape]:
        """Return the shape of one image's activation at each layer."""
        if self._shapes is None:
            found: dict[nn.Module, Shape] = {}

            def note(layer: nn.Module, inputs: Iterable[Tensor], _: Tensor) -> None:
                (x,) = inputs
                found[layer] = tuple(x.shape[1:])

            hooks = [layer.register_forward_hook(note) for layer in self._layers]
            training = self._net.training
            self._net.eval()
            self._net(torch.zeros(1, *self._image_shape, device=self._device))
            self._net.train(training)
            for hook in hooks:
                hook.remove()
            self._shapes = [found[layer] for layer in self._layers]
        return self._shapes
