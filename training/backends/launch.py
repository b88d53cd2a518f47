"""How many ranks train a network, and how they are started."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from training.backends.ranks import ALONE, Ranks
from training.config.schema import Config
from training.data import Dataset

T = TypeVar("T")


def process_ranks() -> Ranks:
    """Return the ranks that torchrun has started, this process among them, or `ALONE`."""
    return ALONE


def run_on_ranks(
    program: Callable[[Config, Dataset, Ranks], T], config: Config, dataset: Dataset, ranks: Ranks
) -> T:
    """Call program on every rank, rank 0's here, and return what it returns here."""
    return program(config, dataset, ranks)
