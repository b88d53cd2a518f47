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
    """Replace every nn.BatchNorm2d within net, keeping its parameters, buffers and their names.

    Args:
        net: the network; its parameters stay the same objects.
        total: replaces a tensor by its sum over the ranks and returns it.
    """
    for parent in list(net.modules()):
        for name, old in parent.named_children():
            if type(old) is nn.BatchNorm2d:
                features, momentum = old.num_features, old.momentum
                arguments = features, old.eps, momentum, old.affine, old.track_running_stats
                new = SyncBatchNorm2d(*arguments, total=total).train(old.training)
                tensors = [*old.named_parameters(), *old.named_buffers()]
                for key, tensor in tensors:
                    setattr(new, key, tensor)
                setattr(parent, name, new)


class SyncBatchNorm2d(nn.BatchNorm2d):
    """All ranks normalise with the whole batch's statistics, as one process would.

    With n values of a channel in all parts together, the mean is Σx/n, the variance Σ(x − mean)²/n,
    and the running variance that times n/(n − 1), in float32 at least.

    Args:
        arguments: those of nn.BatchNorm2d, in its order.
        total: replaces a tensor by its sum over the ranks and returns it.
    """

    def __init__(self, *arguments: Any, total: Sum) -> None:
        super().__init__(*arguments)
        self._total = total

    def forward(self, x: Tensor) -> Tensor:
        """Return x, (N, C, H, W), normalised; in evaluation mode as nn.BatchNorm2d does."""
        if not self.training:
            return super().forward(x)
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        count = values.new_full((1,), values.numel() // values.shape[1])
        sums = _Sum.apply(torch.cat([values.sum((0, 2, 3)), count]), self._total)
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = values - mean[:, None, None]
        variance = _Sum.apply(centred.square().sum((0, 2, 3)), self._total) / count
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
