"""The mutation tool on a package of two functions; what it counts and how it writes that down."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.mutation import __main__ as command
from tests.mutation import report
from tests.mutation.packages import PACKAGES, Package

SOURCE = """
def half(number):
    return number / 2

def largest(numbers):
    best = numbers[0]
    for number in numbers:
        if number > best:
            best = number
    return best
"""
TESTS = """
from tiny.sums import half, largest

def test_half():
    assert half(6) == 3

def test_largest():
    assert largest([1, 3, 2]) == 3
"""


def test_an_obvious_mutant_dies_and_an_equivalent_one_lives(tmp_path: Path) -> None:
    pytest.importorskip("mutmut")
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "sums.py").write_text(SOURCE)
    shutil.copytree(Path(command.__file__).parent, tmp_path / "tests" / "mutation")
    (tmp_path / "tests" / "test_sums.py").write_text(TESTS)
    package = Package(mutated=("tiny/*",), tests=("tests/test_sums.py",), sets=1)
    command.configure(tmp_path, package)
    command.run(tmp_path, package, sample=100, seed=0)
    result = json.loads((tmp_path / "result.json").read_text())
    assert len(result["judged"]) == result["mutants"]
    alive = [m["change"] for m in result["judged"] if m["status"] == "survived"]
    # A number that equals the best may replace it, and which one comes first does not matter.
    assert sorted(report.changed_lines(change) for change in alive) == [
        ("best = numbers[0]", "best = numbers[1]"),
        ("if number > best:", "if number >= best:"),
    ]
    assert {m["status"] for m in result["judged"]} == {"survived", "killed"}


def test_what_has_a_reason_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def mutant(number: int, status: str, line: str) -> dict:
        change = f"--- a\n+++ a\n@@ -1 +1 @@\n-    {line}\n+    {line} + 1" if line else ""
        return {"name": f"p.m.xǁCǁf__mutmut_{number}", "status": status, "change": change}

    monkeypatch.setattr(report, "reasons", lambda: {("a = b", "a = b + 1"): "nobody reads a"})
    judged = [mutant(1, "killed", ""), mutant(2, "timeout", ""), mutant(3, "survived", "a = b")]
    judged += [mutant(4, "no tests", "c = d"), mutant(5, "killed", "")]
    judged[-1]["tests"] = ["tests/test_x.py"]
    row, lines = report.section(
        "p", {"mutants": 1234, "seed": 7, "minutes": 2.04, "judged": judged}
    )
    assert row == "| p | 1,234 | 7 | 5 | 1 | 3 | 1 | 75.0% | 30% to 95% | 2 |"
    assert lines[4:] == [
        "- `p.m.C.f`: `a = b` → `a = b + 1`: nobody reads a",
        *("", "Alive, without excuse:", "", "- `p.m.C.f`: `c = d` → `c = d + 1`"),
        *("", "Dead in other tests:", "", "- `p.m.C.f`: `tests/test_x.py`"),
    ]


def test_what_was_run_elsewhere_stays_on_the_page() -> None:
    """A run of one package writes its own row and section, and no other's."""
    pytest.importorskip("mutmut")
    before = (Path(report.__file__).parent / "results.md").read_text("utf-8")
    judged = [{"name": "p.m.x_f__mutmut_1", "status": "survived", "change": "-a\n+b"}]
    result = {"mutants": 9, "seed": 7, "minutes": 2.0, "judged": judged}
    once = report.page({"training": result}, before)
    assert "| training | 9 | 7 | 1 | 0 | 0 | 1 |" in once
    assert "\n## training\n\nAlive, without excuse:\n\n- `p.m.f`: `a` → `b`\n" in f"{once}\n"
    for name in PACKAGES:
        if name != "training":
            assert report.kept(once, name) == report.kept(before, name)
            assert report.kept("", name) == (f"| {name} | not run | | | | | | | | |", [])
    assert report.page({"training": result}, once) == once
    assert report.page({}, once) == once


def test_every_pattern_names_something() -> None:
    for package in PACKAGES.values():
        for pattern in (*package.mutated, *package.spared):
            assert list(command.ROOT.glob(pattern)), pattern
        for path in package.tests:
            assert (command.ROOT / path.removeprefix("--ignore=")).exists(), path
