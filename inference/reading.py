"""Reading a number: an image's digits, and what the networks say about each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.networks import logits
from inference.preprocessing import Ink, to_mnist
from inference.segmentation import Digit, find_digits
from pretrained import Weights


@dataclass(frozen=True, eq=False)
class Reading:
    """What one image shows.

    Attributes:
        ink: the image's ink, and how it was found.
        digits: where each digit is, from left to right.
        seen: uint8 (digits, 28, 28), what the network was given.
        probabilities: by backend, float64 (digits, 10).
    """

    ink: Ink
    digits: list[Digit]
    seen: NDArray[np.uint8]
    probabilities: dict[str, NDArray[np.float64]]

    @property
    def number(self) -> str:
        """Return the digits of the first backend's answer."""
        first = next(iter(self.probabilities.values()))
        return "".join(map(str, first.argmax(axis=1)))

    @property
    def difference(self) -> float | None:
        """Return the largest difference between the twins' probabilities; None for one twin."""
        found = list(self.probabilities.values())
        return float(np.abs(found[0] - found[1]).max()) if len(found) > 1 else None


def read_number(
    grey: NDArray[np.float32], weights: Weights, backends: Sequence[str] = ("numpy",)
) -> Reading:
    """Return the number that an image's grey levels, (H, W) from 0 black to 1 white, show.

    Raises:
        BlankError: if they show nothing.
    """
    ink, digits = find_digits(grey)
    seen = np.stack([to_mnist(digit.ink) for digit in digits])
    return Reading(ink, digits, seen, {b: softmax(logits(weights, seen, b)) for b in backends})


def softmax(outputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return probabilities (N, 10) of logits."""
    shifted = outputs.astype(np.float64)
    shifted = np.exp(shifted - shifted.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
