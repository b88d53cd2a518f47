"""A pytest plugin for mutmut: which tests meet a mutant, and in which order.

Of each test at most `--parameter-sets` run. While mutmut learns which test calls which function, no
failure ends the run; afterwards it forgets tests that fail without a mutant, for they read sources,
which are not their own text there, and of each function's tests all but the quickest, which take
`SECONDS` together. With a mutant the quickest run first.
"""

from __future__ import annotations

import os
from collections import defaultdict
from itertools import accumulate
from pathlib import Path

import pytest
from mutmut.state import state

SECONDS = 20
FORGOTTEN = Path("failed_without_a_mutant.txt")
_failed: set[str] = set()


def _learning() -> bool:
    return os.environ.get("MUTANT_UNDER_TEST") == "stats"


def _seconds(test: str) -> float:
    return state().duration_by_test.get(test, 0.0)


def some_sets(tests: list[str], most: int) -> set[str]:
    """At most so many of each test's parameter sets, in which each value of each has its turn."""
    chosen: dict[str, list[str]] = defaultdict(list)
    seen: dict[str, set[tuple[int, str]]] = defaultdict(set)
    for test in tests:
        function, _, values = test.partition("[")
        placed = set(enumerate(values.split("-")))
        if not placed <= seen[function]:
            seen[function] |= placed
            chosen[function].append(test)
    return {
        sets[place * len(sets) // min(most, len(sets))]
        for sets in chosen.values()
        for place in range(min(most, len(sets)))
    }


def quickest(tests: set[str]) -> set[str]:
    """The quickest tests, which take `SECONDS` together, and at least one."""
    ranked = sorted(tests, key=lambda test: (_seconds(test), test))
    ends = accumulate(map(_seconds, ranked))
    return {test for test, end in zip(ranked, ends, strict=True) if end <= SECONDS} | {*ranked[:1]}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--parameter-sets", type=int, help="of each test, at most")


def pytest_configure(config: pytest.Config) -> None:
    if _learning():
        config.option.maxfail = 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "__mutmut_" in os.environ["MUTANT_UNDER_TEST"]:
        items.sort(key=lambda item: _seconds(item.nodeid))
    else:
        chosen = some_sets([item.nodeid for item in items], config.option.parameter_sets)
        items[:] = [item for item in items if item.nodeid in chosen]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        _failed.add(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _learning():
        FORGOTTEN.write_text("".join(f"{test}\n" for test in sorted(_failed)))
        met = state().tests_by_mangled_function_name
        for function, tests in met.items():
            met[function] = quickest(tests - _failed)
        session.exitstatus = pytest.ExitCode.OK
