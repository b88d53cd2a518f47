"""The benchmark of long runs, shortened, and that it notices a leak."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks import soak
from tests.support import ROOT


def test_a_short_soak(tmp_path):
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.soak",
            "--steps",
            "150",
            "--json",
            tmp_path / "out.json",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    runs = json.loads((tmp_path / "out.json").read_text())["runs"]
    for name in ("numpy", "torch"):
        samples = runs[name]["samples"]
        assert len(samples) >= 50
        assert samples[-1][0] >= 150
        assert all(20 < mebibytes < 4000 and files >= 3 for _, mebibytes, files in samples)
        assert any(line.startswith(f"| {name} ") for line in result.stdout.splitlines())


@pytest.mark.parametrize(
    ("growth", "files", "leaks"), [(1.0, 5, False), (40.0, 5, True), (1.0, 6, True)]
)
def test_a_leak_is_noticed(growth, files, leaks):
    samples = [(1, 100.0, 5), (2, 100.0, 5), (3, 100.0, 5), (4, 100.0, 5), (5, 100 + growth, files)]
    assert soak.leaks({"samples": samples}) == leaks
