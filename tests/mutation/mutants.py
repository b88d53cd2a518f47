"""Runs a sample of one package's mutants in the working folder, a copy of the project.

`python -m tests.mutation` starts it there, as a process of its own, for mutmut takes its settings
from the working folder and puts it out of Python's path.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import libcst as cst
from mutmut import __main__ as mutmut
from mutmut.mutation import mutators
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state
from mutmut.stats import status_by_exit_code
from mutmut.workers.isolation import get_mutant_runner

RESULT = Path("result.json")


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


def judge(names: Sequence[str]) -> list[dict[str, str | float]]:
    """Runs mutants: each one's name, status, seconds and, while it lives, what it changes.

    A mutant first meets the quickest tests of its function, then, if it lives, more parameter sets
    of these, or of the tests of its file's other functions where there are none.
    """
    runner = get_mutant_runner(1)
    mutmut.collect_or_load_stats(runner)
    found, _ = mutmut.collect_source_file_mutation_data(mutant_names=list(names))
    set_mutant_under_test("")
    runner.startup()
    judged = []
    for number, (data, name, _) in enumerate(found, 1):
        seconds, status = 0.0, "no tests"
        for tests, limit in rounds(name):
            runner.submit(name, tests, 2 * limit, limit)
            result = runner.wait_for_result()
            seconds += result.duration
            status = status_by_exit_code[result.exit_code]
            if status != "survived":
                break
        alive = status in {"survived", "no tests"}
        change = get_diff_for_mutant(name, path=data.path) if alive else ""
        judged.append(
            {"name": name, "status": status, "seconds": round(seconds, 1), "change": change}
        )
        print(f"{number}/{len(found)} {status} {seconds:.0f} s {name}", flush=True)
        if alive:
            print(change, flush=True)
    runner.signal_work_complete()
    runner.shutdown()
    return judged


def function_of(name: str) -> str:
    return name.partition("__mutmut_")[0]


def rounds(name: str) -> Iterator[tuple[list[str], int]]:
    """The tests that a mutant meets, the quick ones first, and how many seconds they may take."""
    met, function = state().tests_by_mangled_function_name, function_of(name)
    quick = met.get(function, set())
    if quick:
        yield sorted(quick), 30 + 6 * int(sum(state().duration_by_test[test] for test in quick))
    file = function.rpartition(".")[0]
    near = quick or set().union(*(met[f] for f in met if f.rpartition(".")[0] == file))
    whole = sorted({test.partition("[")[0] for test in near})
    if whole:
        yield whole, 120


def main(sample: int, seed: int, only: Sequence[str]) -> None:
    """Writes `result.json`; with some mutants only, what it says about them."""
    set_operators()
    names = all_mutants()
    chosen = list(only) or sorted(random.Random(seed).sample(names, min(sample, len(names))))
    start = time.monotonic()
    judged = judge(chosen)
    result = {"mutants": len(names), "minutes": (time.monotonic() - start) / 60, "judged": judged}
    if only:
        result = json.loads(RESULT.read_text())
        anew = {mutant["name"]: mutant for mutant in judged}
        result["judged"] = [anew.get(mutant["name"], mutant) for mutant in result["judged"]]
    RESULT.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
