"""Fixtures for the parity tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _torch_threads() -> Iterator[None]:
    """Give torch as many threads as OMP_NUM_THREADS says, one without it: the tensors are small.

    By itself torch takes no more than there are cores, which would hide what more threads do.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1").partition(",")[0]))
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Give torch's and NumPy's default initialisations the same numbers on every run."""
    torch.manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that starts anew in every test."""
    return np.random.default_rng(0)
