"""The documentation's worked example is run, and says what the page quotes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from parity.__main__ import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "parity.md").read_text(encoding="utf-8")
CONSOLE = dict(re.findall(r"```console\n\$ (.*?)\n(.*?)```", PAGE, flags=re.DOTALL))
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?")


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "docs" / "examples")


def status(command: str) -> int:
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "parity"]
    return main(words[3:])


def assert_same(found: str, quoted: str) -> None:
    """Equal words, and numbers equal to a digit; tolerances depend on whose kernels round."""
    found, quoted = (re.sub(r" +", " ", text).strip() for text in (found, quoted))
    own = r"\d+ s\b|tolerance \S+ \(\S+ of it used\)"
    found, quoted = (re.sub(own, "OWN", text) for text in (found, quoted))
    assert NUMBER.sub("#", found) == NUMBER.sub("#", quoted)
    for a, b in zip(NUMBER.findall(found), NUMBER.findall(quoted), strict=True):
        near = pytest.approx(float(b), rel=0.3, abs=1e-6)
        assert a == b or float(a) == near, f"{a} where the page has {b}"


@pytest.mark.parametrize("command", CONSOLE)
def test_quoted_output_is_what_the_command_prints(command: str, capsys) -> None:
    status(command)
    done = capsys.readouterr()
    assert done.err == ""
    assert_same(done.out.replace(" \n", "\n"), CONSOLE[command])


def test_the_good_pair_passes_and_the_subtle_one_is_convicted(tmp_path, capsys) -> None:
    assert status("python -m parity check student_conv:good") == 0
    assert not list(tmp_path.iterdir())
    capsys.readouterr()
    assert status("python -m parity check student_conv:subtle") == 1
    found = capsys.readouterr().out
    assert found.startswith("culprit: conv2 (Conv2d), wrong by itself")
    assert found.count("culprit: ") == 1
    (file,) = tmp_path.iterdir()
    assert status(f"python -m parity replay {file.name}") == 1
    assert "importing the pair again from student_conv:subtle" in capsys.readouterr().out


def test_the_page_counts_the_ledgers_rightly() -> None:
    from parity.faults import matrix

    assert len(CONSOLE) == 2
    assert f"plants {len(matrix.faults())} mistakes" in PAGE
    assert f"holds {len(matrix.rewrites())} harmless" in PAGE.replace("\n", " ")
