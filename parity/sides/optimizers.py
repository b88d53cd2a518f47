"""Optimizers that are functions: new parameters and state from gradients, parameters and state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class FunctionalOptimizer:
    """An update rule as `parity.steps` steps it, for `Functions` and `JaxFunction`.

    Args:
        side: the network whose parameters are updated.
        update: ``update(gradients, state, parameters) -> (new parameters, new state)``, nests as
            the side has them. With optax: ``updates, state = tx.update(gradients, state,
            parameters)``, then ``optax.apply_updates(parameters, updates), state``.
        state: the state before the first step.
        lr: the learning rate, if it is to be compared with torch's.
    """

    def __init__(
        self, side: Any, update: Callable[[Any, Any, Any], tuple[Any, Any]], state: Any, lr: Any
    ) -> None:
        self._side, self._update, self.state, self.lr = side, update, state, lr

    def step(self) -> None:
        """Update the parameters in place."""
        side = self._side
        new, self.state = self._update(side.gradient_tree, self.state, side.tree)
        values = side.named(new)
        for name, array in side.parameters().items():
            array[...] = values[name]

    def state_dict(self) -> dict[str, Any]:
        """Return the state's leaves by path."""
        return self._side.named(self.state)
