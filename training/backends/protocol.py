"""What the trainer asks of a backend.

A backend holds one network, its optimizer and schedule, and the images. It is handed a whole
epoch's plan at once and told which of its steps to take, so that an implementation may run one
step or many without returning to Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from training.data import Dataset

State = dict[str, NDArray]


@dataclass(frozen=True)
class EpochPlan:
    """Which images each step of one epoch takes."""

    indices: NDArray[np.int64]  # (images,), positions in the training set, step after step
    offsets: NDArray[np.int64]  # (steps + 1,); step i takes indices[offsets[i]:offsets[i + 1]]
    flips: NDArray[np.bool_] | None  # (images,), which of them are mirrored left to right
    first_step: int  # the run's steps before this epoch; with i it addresses the dropout masks
    # float32 (images, 2, 3), where each pixel of an image comes from, as
    # `training.data.inverse_affine` has it, mirroring included; flips is then None.
    moves: NDArray[np.float32] | None = None

    @property
    def steps(self) -> int:
        """Return the number of steps in the epoch."""
        return len(self.offsets) - 1


class Totals(NamedTuple):
    """Sums over the images seen so far in an epoch."""

    loss: float = 0.0
    correct: int = 0
    images: int = 0


class LayerRow(NamedTuple):
    """A line of the model table; shape is one sample's output without the batch axis."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


class Backend(Protocol):
    """One side's network in training.

    `state` and `load_state` speak one format on either side, under torch's names and layouts:
    "model.<parameter or buffer>", "optimizer.<state>.<parameter>", "optimizer.step",
    "optimizer.lr" and "scheduler.last_epoch". The optimizer's arrays are there from its first step
    on. A state of one backend loads into the other.
    """

    name: str
    device: str  # "cpu" or "cuda", for the record
    threads: int
    steps_per_call: int  # how many steps to ask for before looking at anything else
    notes: tuple[str, ...]  # what a reader of the record has to know about this backend's run

    def place(self, dataset: Dataset) -> None:
        """Take over the images (uint8) and labels; scaled to float32 (N, 1, H, W) when used."""

    def begin_epoch(self, plan: EpochPlan, totals: Totals) -> None:
        """Take the epoch's plan; totals are those of the steps already done in it."""

    def train(self, first: int, last: int) -> None:
        """Take the plan's steps first..last-1: forward, loss, backward, update, totals."""

    def totals(self) -> Totals:
        """Return the epoch's sums so far; waits until the steps asked for are done."""

    def end_epoch(self) -> None:
        """Advance the learning rate's schedule."""

    def evaluate(self, first_training: int | None = None) -> NDArray[np.float32]:
        """Return logits (N, 10), the network in evaluation mode.

        They are the test images', or those of the first `first_training` training images.
        """

    @property
    def lr(self) -> float:
        """Return the current learning rate."""

    def weights(self) -> State:
        """Return copies of parameters and buffers under torch's state_dict names."""

    def state(self) -> State:
        """Return a copy of everything training changes, in the format above."""

    def state_bytes(self) -> int:
        """Return the bytes of a state after the first step."""

    def load_state(self, state: State) -> None:
        """Continue from a state of either backend, as `check_state` lets it pass."""

    def layer_table(self) -> list[LayerRow]:
        """Return the layers in order with their output shapes and parameter counts."""


def pixel_scale(scaling: str) -> tuple[np.float32, np.float32]:
    """Return (scale, shift) so that pixel·scale + shift, in float32, is the network's input.

    "unit" is x/255, "standard" (x/255 - 0.1307)/0.3081 (MNIST's mean and std), "raw" x.
    """
    return {
        "unit": (np.float32(1 / 255), np.float32(0)),
        "standard": (np.float32(1 / 255 / 0.3081), np.float32(-0.1307 / 0.3081)),
        "raw": (np.float32(1), np.float32(0)),
    }[scaling]


#: Arrays of an optimizer that are sums or means of squares.
_SQUARES = ("optimizer.exp_avg_sq.", "optimizer.sum.")


def check_state(
    state: Mapping[str, NDArray],
    weights: Mapping[str, NDArray],
    parameters: Iterable[str],
    kinds: Iterable[str],
) -> None:
    """Refuse, by ValueError, a finite state that a network and its optimizer cannot take.

    Args:
        state: what is missing, unknown, of another shape or dtype, or wrongly negative is named.
        weights: the network's parameters and buffers, for their names, shapes and dtypes.
        parameters: the names in weights that are parameters.
        kinds: the optimizer's arrays per parameter, for example exp_avg; none before step 1.
    """
    count: NDArray = np.zeros((), np.int64)
    scalars = {"optimizer.step": count, "optimizer.lr": np.zeros(()), "scheduler.last_epoch": count}
    expected = {**scalars, **{f"model.{name}": array for name, array in weights.items()}}
    if np.any(state.get("optimizer.step", 0)):
        for name in parameters:
            expected |= {f"optimizer.{kind}.{name}": weights[name] for kind in kinds}
    missing = sorted(expected.keys() - state.keys())
    unknown = sorted(state.keys() - expected.keys())
    if missing or unknown:
        names = f"missing {missing or 'nothing'}, unknown {unknown or 'nothing'}"
        raise ValueError(f"this state is not of this network and optimizer: {names}")
    for name, array in expected.items():
        given = state[name]
        if given.shape != array.shape or given.dtype != array.dtype:
            words = f"shape {given.shape} and dtype {given.dtype}"
            raise ValueError(f"{name} has {words}, expected {array.shape} and {array.dtype}")
        squares = name.startswith(_SQUARES) or name.endswith("running_var")
        if (squares or name in scalars) and not (given >= 0).all():
            raise ValueError(f"{name} must not be negative")
