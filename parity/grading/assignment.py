"""An assignment, and what comes of holding a submission against it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from parity import reproduction
from parity.grading.parts import Factory, Part, Verdict, parts
from parity.grading.submission import Limits, Submission
from parity.pair import Pair, load_factory
from parity.protocol import ParityError
from parity.tolerance import Place


@dataclass(frozen=True)
class Assignment:
    """A factory, by its name and itself, each submission's limits, and the tensors by part."""

    spec: str
    limits: Limits
    factory: Factory
    rubric: dict[str, list[Place]]


@dataclass
class Result:
    """One student's result.

    Attributes:
        faults: what is wrong with each tensor of each part; empty for one that is right.
        culprit: the first culprit in a sentence, empty for full marks.
        reproduction: the file that replays it, None if there is none.
        seconds: how long the grading took.
        unlimited: why its memory was not limited, empty where it was.
    """

    faults: dict[str, dict[Place, str]] = field(default_factory=dict)
    culprit: str = ""
    reproduction: Path | None = None
    seconds: float = 0.0
    unlimited: str = ""

    @property
    def right(self) -> int:
        """How many tensors are right."""
        return sum(not fault for faults in self.faults.values() for fault in faults.values())


def assignment(spec: str, limits: Limits) -> Assignment:
    """Import a factory and try it with a stand-in for a solution, which shows what there is to do.

    Raises:
        ParityError: if there is no factory, or it fails.
    """
    factory = load_factory(spec)
    try:
        found = {name: part.places for name, part in parts(factory, MagicMock()).items()}
    except Exception as error:
        raise ParityError(f"{spec} raised {type(error).__name__}: {error}") from error
    return Assignment(spec, limits, factory, found)


def grade(task: Assignment, path: Path, kept: Path) -> Result:
    """Grade the solution in a file; ``kept`` is where its first failure's reproduction goes."""
    result, start = Result(), time.perf_counter()
    kept.unlink(missing_ok=True)  # of an earlier grading
    with Submission(path, task.limits) as submission:
        result.unlimited = submission.unlimited
        solution = part = None
        for name, places in task.rubric.items():
            submission.trouble.clear()
            try:
                solution = solution or submission.ask("importing it", "load")
                part = parts(task.factory, solution)[name]  # anew: modes share no state
                verdict = part.judge()
            except ParityError as error:
                verdict = Verdict({}, str(error))
            except Exception as error:  # whatever a submission's answers do to its judge
                verdict = Verdict({}, f"judging it raised {type(error).__name__}: {error}")
            if submission.ended:  # then what it did not answer was judged
                verdict = Verdict({}, submission.ended)
            culprit = verdict.culprit and (submission.trouble or [verdict.culprit])[0]
            result.faults[name] = {p: verdict.faults.get(p, culprit) for p in places}
            if culprit and not result.culprit:
                result.culprit = culprit
                if part and _reproduced(task, path, part, name, verdict, kept):
                    result.reproduction = kept
    result.seconds = time.perf_counter() - start
    return result


def submitted(against: str, path: str, part: str, forbidden: list[str]) -> Pair:
    """Return one part of an assignment with a submission: the factory of its reproductions."""
    limits = Limits(forbidden=tuple(forbidden))
    solution = Submission(Path(path), limits).ask("importing it", "load")
    sides = parts(load_factory(against), solution)[part].sides
    assert isinstance(sides, Pair)
    return sides


def _reproduced(
    task: Assignment, path: Path, part: Part, name: str, verdict: Verdict, kept: Path
) -> bool:
    if not isinstance(part.sides, Pair):
        return False
    arguments: dict[str, Any] = {"against": task.spec, "path": str(path), "part": name}
    arguments["forbidden"] = list(task.limits.forbidden)
    spec, culprits = f"{__name__}:{submitted.__name__}", list(verdict.culprits)
    try:
        setting = part.sides.setting()
        found = reproduction.record(setting, culprits, spec, arguments)
    except Exception:  # it ended, or cannot even be compared
        return False
    if found is not None:
        reproduction.save(found, kept)
    return found is not None
