"""The steps of an epoch: gather, forward, backward, update and sums, all on the device.

A step reads nothing from the host: where it stands in the plan, the learning rate, the images'
order and the dropout layers' numbers lie in buffers that keep their places. So the same function
is called step by step, or recorded as a CUDA graph and replayed.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from training.backends.protocol import EpochPlan, Totals
from training.backends.ranks import ALONE, Ranks
from training.backends.torch.capture import CapturedCalls
from training.backends.torch.devices import Execution
from training.backends.torch.masks import DropoutMasks


class Pixels(NamedTuple):
    """What turns pixels into the network's input: x·scale + shift in float32."""

    scale: float
    shift: float

    def __call__(self, images: Tensor) -> Tensor:
        """Return images of any shape as the network takes them."""
        scaled = images * self.scale
        return scaled.add_(self.shift) if self.shift else scaled


def move_images(images: Tensor, affine: Tensor) -> Tensor:
    """Return images, uint8 (N, 1, S, S), as `training.data.move_images` moves them, in float32.

    Positions between pixels are rounded otherwise there: the results agree to 1e-3 of 255.
    """
    if not len(images):  # a rank's part of a small batch
        return images.float()
    theta = affine.clone()
    theta[:, :, 2] *= 2 / images.shape[-1]  # torch counts in halves of the image
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, align_corners=False)


class Steps:
    """Takes the steps of a network that maps inputs (N, 1, H, W) to logits (N, 10)."""

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        optimizer: torch.optim.Optimizer,
        masks: DropoutMasks,
        pixels: Pixels,
        execution: Execution,
        ranks: Ranks = ALONE,
    ) -> None:
        self._network, self._optimizer, self._masks = network, optimizer, masks
        self._pixels, self._execution, self._ranks = pixels, execution, ranks
        self._forward = self._compute
        if execution.compile:
            self._forward = torch.compile(self._compute, dynamic=False, options=vectors())
        self._calls = CapturedCalls(self._step, execution.recorder())
        self._plan: dict[str, Tensor] = {}

    def place(self, images: Tensor, labels: Tensor) -> None:
        """Take the training images, uint8 (count, 1, H, W), and labels, int64, on the device."""
        self.images = self._images = images
        self._labels = labels
        self.forget()

    def forget(self) -> None:
        """Record no more of what was recorded: parameters or optimizer have been replaced."""
        self._calls.forget()

    def begin(self, plan: EpochPlan, totals: Totals) -> None:
        """Take an epoch's plan, and the sums over the steps already done in it."""
        order = plan.indices
        if plan.flips is not None:
            if len(self._images) == len(self.images):  # have each a second time, mirrored
                self._images = torch.cat([self.images, self.images.flip(-1)])
                self._labels = self._labels.repeat(2)
                self.forget()
            order = order + plan.flips * len(self.images)
        given = {
            "order": order,
            "loss": np.float64(totals.loss),
            "correct": np.int64(totals.correct),
            "moves": plan.moves,
        }
        device = self._execution.device
        # torch warns when it is lent a read-only array, so it gets its own copy.
        fresh = {n: torch.tensor(a, device=device) for n, a in given.items() if a is not None}
        if {n: t.shape for n, t in self._plan.items()} == {n: t.shape for n, t in fresh.items()}:
            for name, value in fresh.items():
                self._plan[name].copy_(value)
            return
        self._plan = fresh
        self._position = torch.zeros((), dtype=torch.int64, device=device)
        self._range = torch.arange(len(order), device=device)
        self.forget()

    def run(self, offsets: list[int], first_step: int) -> None:
        """Take steps, of which step i takes the plan's images offsets[i] to offsets[i + 1].

        The first one's number in the run decides the dropout masks.
        """
        with self._calls.working():
            self._position.fill_(offsets[0])
            for step, (start, stop) in enumerate(pairwise(offsets), first_step):
                size = stop - start
                self._masks.draw(step, size, self._ranks.part(size))
                self._calls(size)

    def sums(self) -> tuple[Tensor, Tensor]:
        """Return the sums of the images' losses, float64, and right answers, int64."""
        return self._plan["loss"], self._plan["correct"]

    def _step(self, size: int) -> None:
        rows = self._position + self._range[self._ranks.part(size)]
        plan, indices = self._plan, self._plan["order"][rows]
        images = self._images[indices]
        if "moves" in plan:
            images = move_images(images, plan["moves"][rows])
        self._optimizer.zero_grad(set_to_none=True)
        loss, correct = self._forward(images, self._labels[indices])
        (loss / size).backward()
        if self._ranks.world > 1:
            self._add_gradients()
        self._optimizer.step()
        plan["loss"].add_(loss.detach())
        plan["correct"].add_(correct)
        self._position.add_(size)

    def _add_gradients(self) -> None:
        """Add up the ranks' gradients, which travel as one vector.

        DistributedDataParallel, whose overlap with the backward pass does not pay off for so few
        parameters, regroups them after its first step: with more than two ranks a resumed run
        would not be the same to the last bit.
        """
        parameters = self._optimizer.param_groups[0]["params"]
        vector = torch.cat([p.grad.flatten() for p in parameters])
        self._ranks.all_reduce(vector)
        parts = vector.split([p.numel() for p in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)

    def _compute(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums of the batch's losses and right answers."""
        with self._execution.autocast():
            logits = self._network(self._pixels(images))
        loss = F.cross_entropy(logits.float(), labels, reduction="sum")
        return loss, (logits.detach().argmax(-1) == labels).sum()


def vectors() -> dict[str, Any]:
    """Return torch.compile's option that gives the length of the processor's vectors, in bits.

    Torch keeps compiled kernels on disk under names that leave the processor out but not the
    options. Another processor, or ATEN_CPU_CAPABILITY, that takes kernels of longer vectors up
    again would read memory nobody wrote.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return {}
    capability = torch.backends.cpu.get_cpu_capability()
    return {"cpp.simdlen": {"AVX2": 256, "AVX512": 512}.get(capability, 0)}
