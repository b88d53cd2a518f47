"""The documentation's worked example is run, and says what the page quotes."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "parity.md").read_text(encoding="utf-8")
CONSOLE = dict(re.findall(r"```console\n\$ (.*?)\n(.*?)```", PAGE, flags=re.DOTALL))
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?")


def run(command: str, folder: Path) -> subprocess.CompletedProcess:
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "parity"]
    paths = f"{ROOT}:{ROOT / 'docs' / 'examples'}"
    return subprocess.run(
        [sys.executable, *words[1:]],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PYTHONPATH": paths, "PATH": "", "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"},
        check=False,
    )


def assert_same(found: str, quoted: str) -> None:
    """Equal words, and numbers equal to a digit: roundings differ from machine to machine."""
    found, quoted = (re.sub(r" +", " ", text).strip() for text in (found, quoted))
    found, quoted = (re.sub(r"\d+ s\b", "N s", text) for text in (found, quoted))
    assert NUMBER.sub("#", found) == NUMBER.sub("#", quoted)
    for a, b in zip(NUMBER.findall(found), NUMBER.findall(quoted), strict=True):
        near = pytest.approx(float(b), rel=0.3, abs=1e-6)
        assert a == b or float(a) == near, f"{a} where the page has {b}"


@pytest.mark.parametrize("command", CONSOLE)
def test_quoted_output_is_what_the_command_prints(command: str, tmp_path) -> None:
    done = run(command, tmp_path)
    assert done.stderr == ""
    assert_same(done.stdout.replace(" \n", "\n"), CONSOLE[command])


def test_the_good_pair_passes_and_the_subtle_one_is_convicted(tmp_path) -> None:
    good = run("python -m parity check student_conv:good", tmp_path)
    assert good.returncode == 0, good.stdout + good.stderr
    assert not list(tmp_path.iterdir())
    subtle = run("python -m parity check student_conv:subtle", tmp_path)
    assert subtle.returncode == 1
    assert subtle.stdout.startswith("culprit: conv2 (Conv2d), wrong by itself")
    assert subtle.stdout.count("culprit: ") == 1
    (file,) = tmp_path.iterdir()
    again = run(f"python -m parity replay {file.name}", tmp_path)
    assert again.returncode == 1
    assert "importing the pair again from student_conv:subtle" in again.stdout


def test_the_page_counts_the_ledgers_rightly() -> None:
    from parity.faults import matrix

    assert len(CONSOLE) == 2
    assert f"plants {len(matrix.faults())} mistakes" in PAGE
    assert f"holds {len(matrix.rewrites())} harmless" in PAGE.replace("\n", " ")
