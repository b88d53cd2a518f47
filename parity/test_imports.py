"""Import boundaries, each looked at in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "steps",
    [
        {"import numpy_models": "torch torch_models parity training matplotlib sklearn"},
        {
            "import parity": "torch torch_models numpy_models",
            "import parity.finite_differences": "torch torch_models",
        },
        {
            "import torch_models": "numpy_models parity training matplotlib sklearn",
            "import parity; parity.compare": "training matplotlib sklearn",
        },
    ],
    ids=" then ".join,
)
def test_import_pulls_in_nothing_forbidden(steps: dict[str, str]) -> None:
    code = "import sys\n" + "\n".join(
        f"{statement}\nprint(*sorted(set(sys.modules) & set({forbidden.split()!r})), end='')"
        for statement, forbidden in steps.items()
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""
