"""Reading a number: an image's digits, and what the networks say about each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.networks import largest_difference, logits
from inference.preprocessing import Ink, to_mnist
from inference.segmentation import Digit, find_digits
from pretrained import Weights
from training.trainer.evaluation import score


@dataclass(frozen=True, eq=False)
class Reading:
    """What one image shows."""

    ink: Ink
    digits: list[Digit]  # from left to right
    seen: NDArray[np.uint8]  # (digits, 28, 28), what the network was given
    probabilities: dict[str, NDArray[np.float64]]  # by backend, (digits, 10)

    @property
    def number(self) -> str:
        """Return the digits of the first backend's answer."""
        first = next(iter(self.probabilities.values()))
        return "".join(map(str, first.argmax(axis=1)))

    @property
    def difference(self) -> float | None:
        """Return the largest difference between the twins' probabilities; None for one twin."""
        return largest_difference(list(self.probabilities.values()))


def read_number(
    grey: NDArray[np.float32], weights: Weights, backends: Sequence[str] = ("numpy",)
) -> Reading:
    """Return the number that an image's grey levels, (H, W) from 0 black to 1 white, show.

    Raises BlankError if they show nothing.
    """
    ink, digits = find_digits(grey)
    seen = np.stack([to_mnist(digit.ink) for digit in digits])
    outputs = {backend: logits(weights, seen, backend) for backend in backends}
    probabilities = {b: score(o, o.argmax(axis=1)).probabilities for b, o in outputs.items()}
    return Reading(ink, digits, seen, probabilities)
