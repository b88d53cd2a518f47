from __future__ import annotations

from tests.experiments.conftest import _no_pictures_of_runs, call_main, mnist_of_digits

__all__ = ["_no_pictures_of_runs", "call_main", "mnist_of_digits"]
