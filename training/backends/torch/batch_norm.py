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


def convert_batchnorm(net: nn.Module, kind: str, total: Sum) -> None:
    """Replace every nn.BatchNorm2d within net, keeping its parameters, buffers and their names.

    Args:
        net: the network; its parameters stay the same objects.
        kind: "synchronised" (`SyncBatchNorm2d`) or "local" (`LocalBatchNorm2d`).
        total: replaces a tensor by its sum over the ranks and returns it; with "local" it is not
            called.
    """
    for parent in list(net.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(parent, name, _converted(child, kind, total))


def _converted(old: nn.BatchNorm2d, kind: str, total: Sum) -> nn.BatchNorm2d:
    arguments = (
        old.num_features,
        old.eps,
        old.momentum,
        old.affine,
        old.track_running_stats,
    )
    new: nn.BatchNorm2d
    if kind == "local":
        new = LocalBatchNorm2d(*arguments)
    else:
        new = SyncBatchNorm2d(*arguments, total=total)
    tensors = [*old.named_parameters(recurse=False), *old.named_buffers(recurse=False)]
    for name, tensor in tensors:
        setattr(new, name, tensor)
    return new.train(old.training)


class LocalBatchNorm2d(nn.BatchNorm2d):
    """Each rank normalises with the statistics of its own part of the batch."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x, (N, C, H, W), normalised; an empty part leaves the running statistics alone."""
        if self.training and not len(x):
            return _affine(x, self.weight, self.bias)
        return super().forward(x)


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
        return _affine(scaled, self.weight, self.bias).to(x.dtype)

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
        return total(part.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        whole = gradients[0].clone(memory_format=torch.contiguous_format)
        return ctx.total(whole), None


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is None or bias is None:
        return x
    return x * weight[:, None, None] + bias[:, None, None]
