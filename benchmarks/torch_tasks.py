"""What is timed of PyTorch: eager, on the CPU."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import torch_models
from benchmarks.task import SEED, StepTask
from training.backends.streams import stream


class TorchStep(StepTask):
    """A network of torch_models with the data resident as tensors."""

    def place(self) -> None:
        torch.set_num_threads(self.threads)
        self._images = torch.from_numpy(self.train_images).unsqueeze(1)
        self._labels = torch.from_numpy(self.train_labels)
        self._order = torch.from_numpy(self.order)
        self._test = torch.from_numpy(self.test_images).unsqueeze(1)
        self._pixels = float(self.scale), float(self.shift)

    def start(self, nudge: int) -> None:
        self._net = torch_models.build(self.network)
        start = self.start_weights(nudge)
        with torch.no_grad():
            for name, parameter in self._net.named_parameters():
                parameter.copy_(torch.from_numpy(start[name]))
        # As training does it; torch's default on the CPU, a loop over the parameters, is slower.
        self._optimizer = torch_models.Adam(self._net.parameters(), self.rate, fused=True)

    def step(self, start: int, stop: int) -> Tensor:
        indices = self._order[start:stop]
        images = self._input(self._images[indices])
        loss = F.cross_entropy(self._net(images), self._labels[indices])
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    def share_masks(self, step: int | None) -> None:
        draw = None if step is None else partial(_uniforms, stream(SEED, "dropout", step))
        for module in self._net.modules():
            if isinstance(module, torch_models.Dropout):
                module.draw = draw

    @torch.inference_mode()
    def test_logits(self, images: int) -> Tensor:
        self._net.eval()
        parts = [self._net(self._input(self._test[s])) for s in self.test_slices(images)]
        self._net.train()
        return torch.cat(parts)

    def describe(self) -> dict[str, Any]:
        return super().describe() | {
            "torch_threads": torch.get_num_threads(),
            "instruction_set": torch.backends.cpu.get_cpu_capability(),
            "mkl": torch.backends.mkl.is_available(),
            "mkldnn": torch.backends.mkldnn.is_available(),
        }

    def _input(self, images: Tensor) -> Tensor:
        scale, shift = self._pixels
        return images.to(torch.float32).mul_(scale).add_(shift)


def _uniforms(generator: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(generator.random(shape, np.float32))
