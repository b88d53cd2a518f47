"""What several tests of the training need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from training.config import Config, register
from training.overrides import make_plan, parse_arguments

ROOT = Path(__file__).resolve().parents[2]
MODELS = tuple(sorted(path.stem for path in (ROOT / "conf" / "model").glob("*.yaml")))


def compose(*overrides: str) -> Config:
    """The checked configuration of one job on digits with one thread."""
    register()
    arguments = ["data=digits", "backend.threads=1", *overrides]
    (job,) = make_plan(parse_arguments(arguments)).jobs
    return job


def train_py(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run train.py as a user does."""
    return subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *arguments],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
