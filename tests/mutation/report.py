"""The page that `python -m tests.mutation` writes: what is dead, equivalent and alive."""

from __future__ import annotations

import json
import platform
import tomllib
from importlib.metadata import version
from math import sqrt
from pathlib import Path
from typing import Any

from tests.mutation.packages import PACKAGES, function_of
from training.environment import processor

EQUIVALENT = Path(__file__).parent / "equivalent.toml"
HEAD = """\
# Single changes of the sources, and whether the tests notice

`python -m tests.mutation --sample N --seed S` on {}, one process, one thread; Python {}, {}.

[`packages.py`](packages.py) says what is changed and which tests it meets,
[`mutants.py`](mutants.py) how it is changed and how many of these tests a change meets,
[`equivalent.toml`](equivalent.toml) which changes nothing can notice, and why.
mutmut leaves alone what stands outside functions and functions with decorators. The share is of
what is not equivalent, with Wilson's interval at 95 %; the minutes include the first run of the
tests, which learns which of them call what.

| package | mutants | seed | sampled | equivalent | dead | alive | share | interval | minutes |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""
LIVING = ("survived", "no tests")


def changed_lines(diff: str) -> tuple[str, str]:
    """What a unified diff takes away and what it puts there, without indentation."""
    lines = [line for line in diff.splitlines() if line[:3] not in ("---", "+++")]
    taken, put = (" ".join(x[1:].strip() for x in lines if x[0] == sign) for sign in "-+")
    return taken, put


def wilson(part: int, whole: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, 1927)."""
    z, share = 1.96, part / whole
    middle = share + z * z / (2 * whole)
    reach = z * sqrt(share * (1 - share) / whole + z * z / (4 * whole * whole))
    return (middle - reach) / (1 + z * z / whole), (middle + reach) / (1 + z * z / whole)


def written() -> dict[str, Any]:
    """What is written by hand: equivalent mutants, and notes on the packages' results."""
    return tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))


def reasons() -> dict[tuple[str, str], str]:
    """Why mutants are equivalent, by what they take away and put there."""
    entries = written().get("mutant", [])
    return {(entry["taken"], entry["put"]): entry["reason"] for entry in entries}


def section(package: str, result: dict[str, Any]) -> tuple[str, list[str]]:
    """A package's row of the table, and the lines that list what lives."""
    known, titles = reasons(), ("Equivalent:", "Alive, without excuse:", "Dead in other tests:")
    equivalent, alive, elsewhere = listed = [], [], []
    for mutant in result["judged"]:
        name, (taken, put) = function_of(mutant["name"]), changed_lines(mutant["change"])
        line = f"- `{name}`: `{taken}` → `{put or 'nothing'}`"
        if mutant["status"] not in LIVING:
            if mutant.get("tests"):
                elsewhere.append(
                    f"- `{name}`: {', '.join(f'`{test}`' for test in mutant['tests'])}"
                )
        elif (taken, put) in known:
            equivalent.append(f"{line}: {known[taken, put]}")
        else:
            alive.append(line)
    counted = len(result["judged"]) - len(equivalent)
    dead = counted - len(alive)
    low, high = wilson(dead, counted)
    row = (
        f"| {package} | {result['mutants']:,} | {result['seed']} | {len(result['judged'])} | "
        f"{len(equivalent)} | {dead} | {len(alive)} | {dead / counted:.1%} | "
        f"{low:.0%} to {high:.0%} | {result['minutes']:.0f} |"
    )
    lines = [f"\n## {package}"] if any(listed) else []
    for title, entries in zip(titles, listed, strict=True):
        if entries:
            lines += ["", title, "", *sorted(entries)]
    return row, lines


def kept(page: str, package: str) -> tuple[str, list[str]]:
    """What `section` gave where the package has been run elsewhere, from the page as it was."""
    rows = [line for line in page.splitlines() if line.startswith(f"| {package} |")]
    lines = page.partition(f"\n## {package}\n")[2].partition("\n## ")[0].strip("\n").splitlines()
    head = [f"\n## {package}", ""] if lines else []
    return (rows or [f"| {package} | not run | | | | | | | | |"])[0], [*head, *lines]


def page(results: dict[str, dict[str, Any]], before: str = "") -> str:
    """The page's Markdown, of each package's `result.json`; of others what it had before."""
    sections = {
        name: section(name, results[name]) if name in results else kept(before, name)
        for name in PACKAGES
    }
    libraries = ", ".join(f"{name} {version(name)}" for name in ("mutmut", "torch", "numpy"))
    head = HEAD.format(processor(), platform.python_version(), libraries)
    rows = (row for row, _ in sections.values())
    lists = (line for _, lines in sections.values() for line in lines)
    notes = [f"\n{note.strip()}" for note in written().get("notes", [])]
    return "\n".join([head, *rows, *notes, *lists]).rstrip() + "\n"


def write(folders: dict[str, Path]) -> None:
    """Write `results.md` from the results in the working folders."""
    results = {
        name: json.loads((folder / "result.json").read_text())
        for name, folder in folders.items()
        if (folder / "result.json").exists()
    }
    file = Path(__file__).parent / "results.md"
    file.write_text(page(results, file.read_text("utf-8")), "utf-8")
