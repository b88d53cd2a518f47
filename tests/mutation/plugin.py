"""A pytest plugin for mutmut: which tests run, and in which order they meet a mutant.

Of each test at most `--parameter-sets` run, but of one that begins with an `--every-set` all do.
While mutmut learns which test calls which function, no failure ends the run; afterwards it forgets
tests that fail without a mutant, for they read sources, which are not their own text there. With a
mutant the quickest run first.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import pytest
from mutmut.mutation.trampoline import get_mutant_under_test
from mutmut.state import state

FORGOTTEN = Path("failed_without_a_mutant.txt")
_failed: set[str] = set()


def _learning() -> bool:
    return get_mutant_under_test() == "stats"


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


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--parameter-sets", type=int, help="of each test, at most")
    parser.addoption("--every-set", action="append", default=[], help="of the tests here")


def pytest_configure(config: pytest.Config) -> None:
    if _learning():
        config.option.maxfail = 0
        # mutmut still knows; the processes that tests start would not find its settings.
        os.environ.pop("MUTANT_UNDER_TEST", None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "__mutmut_" in get_mutant_under_test():
        items.sort(key=lambda item: state().duration_by_test.get(item.nodeid, 0.0))
    else:
        whole = tuple(config.option.every_set)
        limited = [item.nodeid for item in items if not item.nodeid.startswith(whole)]
        dropped = {*limited} - some_sets(limited, config.option.parameter_sets)
        items[:] = [item for item in items if item.nodeid not in dropped]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        _failed.add(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _learning():
        FORGOTTEN.write_text("".join(f"{test}\n" for test in sorted(_failed)))
        for tests in state().tests_by_mangled_function_name.values():
            tests -= _failed
        session.exitstatus = pytest.ExitCode.OK
