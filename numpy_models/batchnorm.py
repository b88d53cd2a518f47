"""Batch normalisation of images, per channel."""

from __future__ import annotations

import numpy as np

from numpy_models.geometry import require_image
from numpy_models.layer import Array, Layer, Shape

#: (count, mean per channel, sum of squared deviations per channel)
Moments = tuple[int, Array, Array]


class BatchNorm2d(Layer):
    """y = weight * (x - mean) / sqrt(var + eps) + bias per channel, as ``torch.nn.BatchNorm2d``.

    Training normalises with the batch's mean and *biased* variance over (N, H, W) and moves the
    running statistics towards the batch's mean and *unbiased* variance; evaluation uses the
    running statistics (Ioffe & Szegedy 2015, with torch's conventions).

    Args:
        num_features: channels C.
        eps: added to the variance.
        momentum: weight of the new batch in the running statistics (a report's "decay" of 0.9 is
            momentum 0.1); None for a plain average over all batches.
        affine: whether there are a weight and a bias.
        track_running_stats: without them, evaluation uses batch statistics too.

    Parameters: ``weight`` (C,), ``bias`` (C,). Buffers: ``running_mean`` (C,), ``running_var``
    (C,), ``num_batches_tracked`` int64 ().

    Raises:
        ValueError: for another number of channels, or for one value per channel in training.
    """

    synchronises = True

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
            self.parameters["weight"][...] = 1
        if track_running_stats:
            self.buffers["running_mean"] = np.zeros(num_features, np.float32)
            self.buffers["running_var"] = np.ones(num_features, np.float32)
            self.buffers["num_batches_tracked"] = np.zeros((), np.int64)

    def describe(self) -> str:
        return f"BatchNorm2d({self.num_features}, eps={self.eps}, momentum={self.momentum})"

    def reset_parameters(self, rng: np.random.Generator) -> None:
        if self.parameters:
            self.parameters["weight"][...] = 1
            self.parameters["bias"][...] = 0
        if self.buffers:
            self.buffers["running_mean"][...] = 0
            self.buffers["running_var"][...] = 1
            self.buffers["num_batches_tracked"][...] = 0

    def output_shape(self, shape: Shape) -> Shape:
        channels, _, _ = require_image(shape, "BatchNorm2d")
        if channels != self.num_features:
            raise ValueError(
                f"BatchNorm2d expects {self.num_features} channels, got {channels} in samples of "
                f"shape {shape}"
            )
        return shape

    def forward(self, x: Array) -> Array:
        batch_statistics = self.training or not self.buffers
        normalised = self._kept("normalised", x.shape, x.dtype)
        if batch_statistics:
            count, mean, squares = self._batch_moments(x, normalised)
            variance = squares / count
            if self.training and self.buffers and self.primary:
                self._track(mean, squares / (count - 1))
        else:
            count = None
            mean, variance = self.buffers["running_mean"], self.buffers["running_var"]
        scale = (1 / np.sqrt(variance + self.eps)).astype(x.dtype)[:, None, None]
        np.subtract(x, mean.astype(x.dtype)[:, None, None], out=normalised)
        normalised *= scale
        # Normalised input and 1/std give the gradients; the count says over how many values the
        # statistics were taken (None: constants, as in evaluation).
        self._saved = (normalised, scale, count)
        if "weight" not in self.parameters:
            return normalised
        y = self._output(x, x.shape)
        np.multiply(normalised, self.parameters["weight"][:, None, None], out=y)
        y += self.parameters["bias"][:, None, None]
        return y

    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        normalised, scale, count = self._recall()
        product = self._gradient(dy, dy.shape)
        d_bias = _sum_per_channel(dy)
        d_weight = _sum_per_channel(np.multiply(dy, normalised, out=product))
        if "weight" in self.gradients:
            self.gradients["weight"][...] = d_weight
            self.gradients["bias"][...] = d_bias
            scale = scale * self.parameters["weight"][:, None, None]
        if count is not None:
            parts = self.exchange((d_bias, d_weight))
            d_bias = sum(part[0] for part in parts)
            d_weight = sum(part[1] for part in parts)
        if not input_gradient:
            return None
        if count is None:
            return np.multiply(dy, scale, out=product)
        np.multiply(normalised, (-d_weight / count)[:, None, None], out=product)
        product += dy
        product -= (d_bias / count)[:, None, None]
        product *= scale
        return product

    def _batch_moments(self, x: Array, scratch: Array) -> Moments:
        """Moments of the whole batch, merged from the shards' in their fixed order."""
        height, _, width, n = x.shape
        count = height * width * n
        mean = _sum_per_channel(x) / count
        np.subtract(x, mean[:, None, None], out=scratch)
        np.multiply(scratch, scratch, out=scratch)
        parts = self.exchange((count, mean, _sum_per_channel(scratch)))
        total: Moments = parts[0]
        for part in parts[1:]:
            total = _merge(total, part)
        if total[0] == 1:
            raise ValueError(
                "BatchNorm2d needs more than 1 value per channel when training, got input of "
                f"shape {(1, x.shape[1], height, width)}; use a larger batch or eval()"
            )
        return total

    def _track(self, mean: Array, unbiased_variance: Array) -> None:
        tracked = self.buffers["num_batches_tracked"]
        tracked += 1
        new = 1 / float(tracked) if self.momentum is None else self.momentum
        for name, value in (("running_mean", mean), ("running_var", unbiased_variance)):
            self.buffers[name] *= 1 - new
            self.buffers[name] += new * value


def _sum_per_channel(x: Array) -> Array:
    height, channels, width, n = x.shape
    return x.reshape(height, channels, width * n).sum(axis=2).sum(axis=0)


def _merge(a: Moments, b: Moments) -> Moments:
    """Moments of two samples together (Chan, Golub & LeVeque 1979)."""
    count = a[0] + b[0]
    step = b[1] - a[1]
    mean = a[1] + step * (b[0] / count)
    return count, mean, a[2] + b[2] + step * step * (a[0] * b[0] / count)
