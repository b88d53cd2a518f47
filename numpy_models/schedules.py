"""Learning-rate schedules."""

from __future__ import annotations

from collections.abc import Mapping

from numpy_models.optimizers import Optimizer


class StepLR:
    """Multiply the learning rate by ``gamma`` every ``step_size`` epochs, as torch's ``StepLR``.

    Call ``step()`` once at the end of each epoch.

    Raises:
        ValueError: if ``step_size`` is not a positive whole number.
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        if isinstance(step_size, bool) or not isinstance(step_size, int) or step_size < 1:
            raise ValueError(f"step_size must be a whole number of epochs >= 1, got {step_size!r}")
        self.optimizer, self.step_size, self.gamma = optimizer, step_size, gamma
        self.last_epoch = 0

    def step(self) -> None:
        """Count an epoch, and multiply the rate if it is due."""
        self.last_epoch += 1
        if self.last_epoch % self.step_size == 0:
            self.optimizer.lr *= self.gamma

    def state_dict(self) -> dict[str, int]:
        """Return the number of epochs counted; the learning rate is part of the optimizer."""
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Take over ``state``."""
        self.last_epoch = int(state["last_epoch"])
