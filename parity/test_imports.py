"""Import boundaries, each looked at in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import numpy_models", "torch torch_models parity training matplotlib sklearn"),
        ("import torch_models", "numpy_models parity training matplotlib sklearn"),
        ("import parity.finite_differences", "torch torch_models"),
        ("import parity", "torch torch_models numpy_models"),
        ("import parity; parity.compare", "training matplotlib sklearn"),
    ],
)
def test_import_pulls_in_nothing_forbidden(statement: str, forbidden: str) -> None:
    code = (
        f"import sys; {statement}; "
        f"print(*sorted(set(sys.modules) & set({forbidden.split()!r})), end='')"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""
