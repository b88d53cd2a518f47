"""The training step of lenet5_relu in JAX: one jitted function on the CPU, buffers donated."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array, lax
from jax import numpy as jnp

from benchmarks.task import StepTask

jax.config.update("jax_platforms", "cpu")


class JaxStep(StepTask):
    """LeNet-5 of jax.lax's operations; the gather and Adam are inside the jitted step."""

    def place(self) -> None:
        self._images = jnp.asarray(self.train_images)
        self._labels = jnp.asarray(self.train_labels.astype(np.int32))
        self._order = jnp.asarray(self.order.astype(np.int32))
        self._step = jax.jit(
            partial(_step, rate=self.rate, scale=self.scale, shift=self.shift), donate_argnums=0
        )
        self._forward = jax.jit(partial(_forward, scale=self.scale, shift=self.shift))

    def start(self, nudge: int) -> None:
        parameters = jax.tree.map(jnp.array, self.start_weights(nudge))
        # Two allocations: a donated buffer must not be shared.
        moments = [jax.tree.map(jnp.zeros_like, parameters) for _ in range(2)]
        self._state = (parameters, *moments, jnp.zeros((), jnp.int32))

    def step(self, start: int, stop: int) -> Array:
        """Start a training step; return its loss, perhaps still being computed."""
        indices = self._order[start:stop]
        self._state, loss = self._step(self._state, self._images, self._labels, indices)
        return loss

    def test_logits(self, images: int) -> Array:
        parts = [
            self._forward(self._state[0], self.test_images[s]) for s in self.test_slices(images)
        ]
        return jnp.concatenate(parts)

    def finish(self, result: Any) -> None:
        jax.block_until_ready((result, self._state))


def _forward(p: dict[str, Array], images: Array, scale: Any, shift: Any) -> Array:
    x = images[:, None].astype(jnp.float32) * scale + shift  # (N, 1, 28, 28)
    y = _pool(jax.nn.relu(_convolve(x, p, "c1", padding=2)))  # (N, 6, 14, 14)
    y = _pool(jax.nn.relu(_convolve(y, p, "c3", padding=0)))  # (N, 16, 5, 5)
    y = y.reshape(len(images), -1)  # (N, 400)
    for name in ("c5", "f6"):
        y = jax.nn.relu(y @ p[f"{name}.weight"].T + p[f"{name}.bias"])
    return y @ p["out.weight"].T + p["out.bias"]


def _convolve(x: Array, p: dict[str, Array], name: str, padding: int) -> Array:
    pads = [(padding, padding)] * 2
    y = lax.conv_general_dilated(x, p[f"{name}.weight"], (1, 1), pads)
    return y + p[f"{name}.bias"][:, None, None]


def _pool(x: Array) -> Array:
    window = (1, 1, 2, 2)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")


def _step(
    state: tuple, images: Array, labels: Array, indices: Array, rate: float, scale: Any, shift: Any
) -> tuple[tuple, Array]:
    parameters, m, v, steps = state
    targets = labels[indices]

    def loss_of(p: dict[str, Array]) -> Array:
        logs = jax.nn.log_softmax(_forward(p, images[indices], scale, shift))
        return -jnp.mean(jnp.take_along_axis(logs, targets[:, None], axis=1))

    loss, gradients = jax.value_and_grad(loss_of)(parameters)
    steps = steps + 1
    m = jax.tree.map(lambda a, g: a + 0.1 * (g - a), m, gradients)
    v = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, v, gradients)
    first, second = 1 - 0.9**steps, 1 - 0.999**steps

    def updated(p: Array, a: Array, b: Array) -> Array:
        return p - rate / first * a / (jnp.sqrt(b / second) + 1e-8)

    return (jax.tree.map(updated, parameters, m, v), m, v, steps), loss
