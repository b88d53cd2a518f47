"""pytest plugin: the fixture `assert_parity`. Importing it loads neither torch nor the harness."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import parity


@pytest.fixture
def assert_parity() -> Callable[..., Any]:
    """`parity.assert_parity`: a pair's test is this call on (module, network, inputs)."""
    return parity.assert_parity
