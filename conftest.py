"""What all tests share."""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    """Spare the collector of garbage the million objects of what is imported by now.

    It would go through them again and again, for a tenth of the time that tests take.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


def pytest_unconfigure() -> None:
    """Let libraries that count what outlives them find nothing."""
    gc.unfreeze()
