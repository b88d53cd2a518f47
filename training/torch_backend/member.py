"""One of many networks that are trained together, seen as a backend of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training.backend import EpochPlan, LayerRow, State, Totals
from training.config import Config
from training.data import Dataset
from training.torch_backend.backend import STEPS_PER_CALL
from training.torch_backend.networks import copied
from training.torch_backend.optimizers import Schedule, run_state

if TYPE_CHECKING:
    from training.torch_backend.many import ManyNetworks


class Member:
    """One of many networks as a `training.backend.Backend`.

    It is asked for steps like any other; they are taken when all members have asked.
    """

    name = "torch"

    def __init__(self, group: ManyNetworks, row: int, config: Config) -> None:
        self._group, self._row = group, row
        self.device, self.threads = group.execution.device, group.execution.threads
        self.notes = group.execution.notes
        self.steps_per_call = STEPS_PER_CALL[self.device]
        self._schedule = Schedule(config.optimizer.lr, config.scheduler)

    def place(self, dataset: Dataset) -> None:
        """Copy images and labels to the device, unless another member has."""
        self._group.place(dataset)

    def begin_epoch(self, plan: EpochPlan, totals: Totals) -> None:
        """Take the network's plan of a whole epoch."""
        assert totals == Totals(), "networks that are trained together begin with an epoch"
        self._group.begin_epoch(self._row, plan)

    def train(self, first: int, last: int) -> None:
        """Ask for the plan's steps first..last-1."""
        self._group.ask(first, last)

    def totals(self) -> Totals:
        """Return the epoch's sums so far."""
        return self._group.totals(self._row)

    def end_epoch(self) -> None:
        """Advance the schedule."""
        self._schedule.step()
        group, _ = self._group.slot(self._row)
        self._schedule.write(group)

    def evaluate(self, first_training: int | None = None) -> NDArray[np.float32]:
        """Return the logits of the test images, or of the first training images."""
        return self._group.evaluate(first_training)[self._row]

    @property
    def lr(self) -> float:
        """Return the current learning rate."""
        return self._schedule.lr

    def weights(self) -> State:
        """Return copies of the network's parameters and buffers."""
        views = self._group.networks.state_dict(self._row)
        return {name: copied(value) for name, value in views.items()}

    def state(self) -> State:
        """Return the network's, the optimizer's and the schedule's state."""
        _, slots = self._group.slot(self._row)
        group = self._group
        return run_state(self.weights(), group.taken, self._schedule, slots, group.kinds)

    def load_state(self, state: State) -> None:
        """Refuse to: a run that is taken up goes on by itself.

        Raises:
            ValueError: always.
        """
        raise ValueError("a run that is trained together with others cannot be taken up with them")

    def layer_table(self) -> list[LayerRow]:
        """Return the layers, which are the same in all networks."""
        return self._group.layers
