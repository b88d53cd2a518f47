"""A pytest plugin for mutmut: which tests meet a mutant, and in which order.

While mutmut learns which test calls which function, only `SETS` parameter sets of each test run,
and no failure ends the run. Afterwards it forgets tests that fail without a mutant, for they read
sources, which are not their own text there, and of each function's tests all but the quickest,
which take `SECONDS` together. With a mutant at most `MORE_SETS` run, the quickest first.
"""

from __future__ import annotations

import os
from collections import defaultdict
from itertools import accumulate
from pathlib import Path

import pytest
from mutmut.state import state

SETS, MORE_SETS = 3, 12
SECONDS = 12
FORGOTTEN = Path("failed_without_a_mutant.txt")
_failed: set[str] = set()


def _learning() -> bool:
    return os.environ.get("MUTANT_UNDER_TEST") == "stats"


def _seconds(test: str) -> float:
    return state().duration_by_test.get(test, 0.0)


def some_sets(tests: list[str], most: int) -> set[str]:
    """Evenly spread, at most so many of each test's parameter sets."""
    grouped: dict[str, list[str]] = defaultdict(list)
    for test in tests:
        grouped[test.partition("[")[0]].append(test)
    return {
        group[place * len(group) // min(most, len(group))]
        for group in grouped.values()
        for place in range(min(most, len(group)))
    }


def quickest(tests: set[str]) -> set[str]:
    """The quickest tests, which take `SECONDS` together, and at least one."""
    ranked = sorted(tests, key=lambda test: (_seconds(test), test))
    ends = accumulate(map(_seconds, ranked))
    return {test for test, end in zip(ranked, ends, strict=True) if end <= SECONDS} | {*ranked[:1]}


def pytest_configure(config: pytest.Config) -> None:
    if _learning():
        config.option.maxfail = 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    listing = os.environ.get("MUTANT_UNDER_TEST") in {"stats", "list_all_tests"}
    chosen = some_sets([item.nodeid for item in items], SETS if listing else MORE_SETS)
    items[:] = [item for item in items if item.nodeid in chosen]
    if not listing:
        items.sort(key=lambda item: _seconds(item.nodeid))


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
