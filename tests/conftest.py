"""Tests see no CUDA device unless they are about one."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture(autouse=True)
def _without_cuda(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `device=auto` mean the CPU, here and in processes that the test starts."""
    if request.node.get_closest_marker("cuda"):
        return
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    if "torch" in sys.modules:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
