"""Batch normalisation where each of several ranks sees a part of the batch.

torch's SyncBatchNorm takes CUDA tensors only, so this is written with one sum over the ranks for
each of torch's statistics; it works on any device. A part may be empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Sum = Callable[[Tensor], Tensor]


def convert_batchnorm(net: nn.Module, total: Sum) -> None:
    """Have every nn.BatchNorm2d within net normalise with the statistics of all ranks.

    Args:
        net: the network; its layers, parameters and buffers stay the same objects.
        total: replaces a tensor by its sum over the ranks and returns it.
    """
    for layer in net.modules():
        if type(layer) is nn.BatchNorm2d:
            layer.__class__ = SyncBatchNorm2d
            layer.total = total  # type: ignore[assignment]


class SyncBatchNorm2d(nn.BatchNorm2d):
    """All ranks normalise with the whole batch's statistics, as one process would.

    With n values of a channel in all parts together, the mean is Σx/n, the variance Σ(x − mean)²/n,
    and the running variance that times n/(n − 1), in float32 at least.
    """

    total: Sum

    def forward(self, x: Tensor) -> Tensor:
        """Return x, (N, C, H, W), normalised; in evaluation mode as nn.BatchNorm2d does."""
        if not self.training:
            return super().forward(x)
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        count = values.new_full((1,), values.numel() // values.shape[1])
        sums = _Sum.apply(torch.cat([values.sum((0, 2, 3)), count]), self.total)
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = values - mean[:, None, None]
        variance = _Sum.apply(centred.square().sum((0, 2, 3)), self.total) / count
        self._track(mean.detach(), variance.detach() * (count / (count - 1).clamp(min=1)))
        scaled = centred * (variance + self.eps).rsqrt()[:, None, None]
        if self.affine:
            scaled = scaled * self.weight[:, None, None] + self.bias[:, None, None]
        return scaled.to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        weight = self.momentum
        if weight is None:  # torch's cumulative average
            weight = 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance, weight)


class _Sum(torch.autograd.Function):
    """A sum over the ranks, whose gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, total: Sum) -> Tensor:
        ctx.total = total
        return total(part.clone())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.total(gradients[0].clone()), None
