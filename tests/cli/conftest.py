from __future__ import annotations

from tests.training.conftest import _one_torch_thread, call_main, few_digits, no_pictures

__all__ = ["_one_torch_thread", "call_main", "few_digits", "no_pictures"]
