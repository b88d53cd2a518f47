"""Batch normalisation of images, per channel (Ioffe & Szegedy 2015).

Over the n values of a channel, all samples and positions, with s = 1 / sqrt(var + eps):

    mean = Σ x / n,   var = Σ (x - mean)² / n,   z = (x - mean) · s,   y = γ z + β.

γ and β enter linearly: dL/dγ = Σ dy · z and dL/dβ = Σ dy. x affects y directly, through the mean
and through the variance. With dz = γ dy and the derivatives d mean / dx = 1/n and
ds / dx = -s³ (x - mean) / n,

    dL/dx = s · (dz - Σ dz / n - z · Σ (dz · z) / n) = γ s · (dy - dL/dβ / n - z · dL/dγ / n).

In evaluation mode, mean and variance are constants, and dL/dx = γ s · dy.
"""

from __future__ import annotations

import numpy as np

from numpy_models.geometry import require_image
from numpy_models.layer import Array, Layer, Shape

#: (count, mean per channel, sum of squared deviations per channel)
Moments = tuple[float, Array, Array]


class BatchNorm2d(Layer):
    """y = weight * (x - mean) / sqrt(var + eps) + bias per channel, as ``torch.nn.BatchNorm2d``.

    Training normalises with the batch's mean and *biased* variance over (N, H, W) and moves the
    running statistics towards the batch's mean and *unbiased* variance; evaluation uses the
    running statistics. For a batch spread over several processes, a subclass overrides ``gather``:
    see :class:`numpy_models.SyncBatchNorm2d`.

    Args:
        num_features: channels C.
        eps: added to the variance.
        momentum: weight of the new batch in the running statistics (a report's "decay" of 0.9 is
            momentum 0.1); None for a plain average over all batches.
        affine: whether the layer has a weight and a bias.
        track_running_stats: without them, evaluation uses batch statistics too.

    Parameters: ``weight`` (C,), ``bias`` (C,). Buffers: ``running_mean`` (C,), ``running_var``
    (C,), ``num_batches_tracked`` int64 ().

    Raises:
        ValueError: for an input without C channels, or for one value per channel in training.
    """

    mixes_samples = True

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        if affine:
            self._add_parameter("weight", (num_features,))
            self._add_parameter("bias", (num_features,))
            self._parameters["weight"][...] = 1
        if track_running_stats:
            self._buffers["running_mean"] = np.zeros(num_features, np.float32)
            self._buffers["running_var"] = np.ones(num_features, np.float32)
            self._buffers["num_batches_tracked"] = np.zeros((), np.int64)

    def __repr__(self) -> str:
        return f"BatchNorm2d({self.num_features}, eps={self.eps}, momentum={self.momentum})"

    def reset_parameters(self, seed: int | np.random.Generator) -> None:
        if self._parameters:
            self._parameters["weight"][...] = 1
            self._parameters["bias"][...] = 0
        if self._buffers:
            self._buffers["running_mean"][...] = 0
            self._buffers["running_var"][...] = 1
            self._buffers["num_batches_tracked"][...] = 0

    def output_shape(self, shape: Shape) -> Shape:
        return require_image(shape, "BatchNorm2d", self.num_features)

    def gather(self, part: Array) -> list[Array]:
        """Return the ``part`` of every process that holds part of the batch: here, of one."""
        return [part]

    def forward_batch_last(self, x: Array) -> Array:
        if self.training or not self._buffers:
            count, mean, squares = self._batch_moments(x)
            variance = squares / count
            if self.training and self._buffers:
                self._track(mean, squares / (count - 1))
        else:
            count = None
            mean, variance = self._buffers["running_mean"], self._buffers["running_var"]
        scale = per_channel(1 / np.sqrt(variance + self.eps), x.dtype)
        normalised = x - per_channel(mean, x.dtype)
        normalised *= scale
        # The number of values that the statistics were taken over; None: they are constants.
        self._saved = normalised, scale, count
        if not self._parameters:
            return normalised
        y = normalised * per_channel(self._parameters["weight"])
        y += per_channel(self._parameters["bias"])
        return y

    def backward_batch_last(self, dy: Array, input_gradient: bool = True) -> Array | None:
        normalised, scale, count = self._saved
        d_bias, d_weight = _sum_per_channel(dy), _sum_per_channel(dy * normalised)
        if self._parameters:
            self._gradients["weight"][...] = d_weight
            self._gradients["bias"][...] = d_bias
            scale = scale * per_channel(self._parameters["weight"])
        if count is not None:  # all processes take part, whether or not this one needs it
            d_bias, d_weight = np.sum(self.gather(np.stack([d_bias, d_weight])), axis=0)
        if not input_gradient:
            return None
        if count is None:
            return dy * scale
        dx = normalised * per_channel(-d_weight / count, dy.dtype)
        dx += dy
        dx -= per_channel(d_bias / count, dy.dtype)
        dx *= scale
        return dx

    def _batch_moments(self, x: Array) -> Moments:
        """Return the moments of the whole batch: all parts, merged in their fixed order."""
        height, channels, width, n = x.shape
        count = height * width * n
        mean = _sum_per_channel(x) / count
        deviations = x - per_channel(mean)
        squares = _sum_per_channel(np.multiply(deviations, deviations, out=deviations))
        parts = self.gather(np.concatenate([[count], mean, squares]))
        merged = _merged([(part[0], *np.split(part[1:], 2)) for part in parts])
        if merged[0] == 1:
            raise ValueError(
                "BatchNorm2d needs more than 1 value per channel when training, got input of "
                f"shape {(1, channels, height, width)}; use a larger batch or eval()"
            )
        return merged

    def _track(self, mean: Array, unbiased_variance: Array) -> None:
        tracked = self._buffers["num_batches_tracked"]
        tracked += 1
        new = 1 / float(tracked) if self.momentum is None else self.momentum
        for name, value in (("running_mean", mean), ("running_var", unbiased_variance)):
            self._buffers[name] *= 1 - new
            self._buffers[name] += new * value


def per_channel(values: Array, dtype: np.dtype | None = None) -> Array:
    """Return (C,) as (C, 1, 1), which broadcasts over images (H, C, W, N)."""
    return values.astype(dtype or values.dtype, copy=False)[:, None, None]


def _sum_per_channel(x: Array) -> Array:
    height, channels, width, n = x.shape
    return x.reshape(height, channels, width * n).sum(axis=2).sum(axis=0)


def _merged(parts: list[Moments]) -> Moments:
    """Return the moments of several samples together (Chan, Golub & LeVeque 1979)."""
    count, mean, squares = parts[0]
    for other_count, other_mean, other_squares in parts[1:]:
        total, step = count + other_count, other_mean - mean
        mean = mean + step * (other_count / total)
        squares = squares + other_squares + step * step * (count * other_count / total)
        count = total
    return count, mean, squares
