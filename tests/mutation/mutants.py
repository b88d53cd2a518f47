"""Runs a sample of one package's mutants in the working folder, a copy of the project.

`python -m tests.mutation` starts it there, as a process of its own, for mutmut takes its settings
from the working folder and puts it out of Python's path.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import libcst as cst
from mutmut import __main__ as mutmut
from mutmut.mutation import mutators
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state
from mutmut.stats import status_by_exit_code
from mutmut.workers.isolation import get_mutant_runner

from tests.mutation.packages import function_of

RESULT = Path("result.json")
#: What the tests that a mutant meets take together: at first, and if it lives.
SECONDS = 20, 60


def dropped_call(node: cst.Expr) -> Iterator[cst.Pass]:
    """A call that nobody asks for its result, gone."""
    if isinstance(node.value, cst.Call):
        yield cst.Pass()


def negated_condition(node: cst.If) -> Iterator[cst.If]:
    """A condition that is no comparison, turned round; mutmut swaps comparisons itself."""
    if isinstance(node.test, cst.Name | cst.Attribute | cst.Call):
        yield node.with_changes(test=cst.UnaryOperation(cst.Not(), node.test))


def set_operators() -> None:
    """mutmut's own but for words, which are a message's more often than a decision's, and two."""
    operators = [o for o in mutators.mutation_operators if o[1] is not mutators.operator_string]
    mutators.mutation_operators[:] = [
        *operators,
        (cst.Expr, dropped_call),
        (cst.If, negated_condition),
    ]


def all_mutants() -> list[str]:
    """Makes the mutants, unless they are there already, and names them."""
    set_mutant_under_test("mutant_generation")
    Path("mutants").mkdir(exist_ok=True)
    mutmut.copy_src_dir()
    mutmut.copy_also_copy_files()
    mutmut.setup_source_paths()
    mutmut.create_mutants(1)
    found, _ = mutmut.collect_source_file_mutation_data(mutant_names=())
    return sorted(name for _, name, _ in found)


def met_apart(name: str, apart: Mapping[str, Sequence[str]]) -> list[str]:
    """The tests of `apart` that meet a mutant, by its file."""
    module = {path: path.removesuffix(".py").replace("/", ".") for path in apart}
    return [test for path in apart if name.startswith(f"{module[path]}.") for test in apart[path]]


def rounds(
    met: set[str], more: Sequence[str], seconds: Mapping[str, float], reach: Mapping[str, int]
) -> list[list[str]]:
    """What a mutant meets: quick tests of few functions, and if it lives, further ones and `more`.

    Args:
        met: the tests that call its function.
        more: those that run its file in other processes.
        seconds: how long each takes.
        reach: how many functions each calls.
    """
    ranked = sorted(met, key=lambda test: (seconds.get(test, 0.0) * reach[test], test))
    ends = list(itertools.accumulate(seconds.get(test, 0.0) for test in ranked))
    first, last = (sum(end <= limit for end in ends) for limit in SECONDS)
    parts = ranked[: max(first, 1)], [*ranked[max(first, 1) : last], *more]
    return [part for part in parts if part]


def judge(
    names: Sequence[str], given: Sequence[str], apart: Mapping[str, Sequence[str]]
) -> Iterator[dict[str, Any]]:
    """Runs mutants, each with the given tests or those that call its function.

    Yields its name, its status, while it lives what it changes, and the tests if they were given.
    """
    runner = get_mutant_runner(1)
    if not given:
        mutmut.collect_or_load_stats(runner)
    found, _ = mutmut.collect_source_file_mutation_data(mutant_names=list(names))
    paths = {name: data.path for data, name, _ in found}
    met, seconds = state().tests_by_mangled_function_name, state().duration_by_test
    reach = Counter(itertools.chain.from_iterable(met.values()))
    set_mutant_under_test("")
    runner.startup()
    for name in names:
        callers = met.get(name.partition("__mutmut_")[0], set())
        status = "no tests"
        for tests in [given] if given else rounds(callers, met_apart(name, apart), seconds, reach):
            limit = 60 + 3 * int(sum(seconds.get(test, 60) for test in tests))
            runner.submit(name, tests, 2 * limit, limit)  # of its own it halves the first
            status = status_by_exit_code[runner.wait_for_result().exit_code]
            if status != "survived":
                break
        alive = status in {"survived", "no tests"}
        change = get_diff_for_mutant(name, path=paths[name]) if alive else ""
        yield {"name": name, "status": status, "change": change, "tests": list(given)}
    runner.signal_work_complete()
    runner.shutdown()


def main(
    sample: int,
    seed: int,
    only: Sequence[str],
    tests: Sequence[str],
    apart: Mapping[str, Sequence[str]],
    elsewhere: Sequence[str],
) -> None:
    """Writes `result.json` after each mutant; with some mutants only, what is new about them."""
    set_operators()
    names = [n for n in all_mutants() if not function_of(n).startswith(tuple(elsewhere))]
    result: dict[str, Any] = {"mutants": len(names), "seed": seed, "minutes": 0.0, "judged": []}
    if only:
        result = json.loads(RESULT.read_text())
    judged = {mutant["name"]: mutant for mutant in result["judged"]}
    chosen = only or random.Random(seed).sample(names, min(sample, len(names)))
    earlier, start = result["minutes"], time.monotonic()
    for number, mutant in enumerate(judge(chosen, tests, apart), 1):
        print(f"{number}/{len(chosen)} {mutant['status']} {mutant['name']}\n{mutant['change']}")
        judged[mutant["name"]] = mutant
        result["judged"] = list(judged.values())
        result["minutes"] = earlier + (time.monotonic() - start) / 60
        RESULT.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
