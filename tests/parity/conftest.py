"""The fixtures of the proof's own tests."""

from parity.conftest import _seeded, rng

__all__ = ["_seeded", "rng"]
