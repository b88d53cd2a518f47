"""``python -m parity grade``, and the files it writes."""

from __future__ import annotations

import argparse
import csv
import io
import json
from pathlib import Path
from typing import Any

from parity import files
from parity.grading.assignment import Assignment, Result, assignment, grade
from parity.grading.submission import Limits
from parity.protocol import ParityError

WIDTH = 100
NO_SANDBOX = (
    "Each submission runs in its own process, limited to {0.seconds:g} s and {0.mebibytes} MiB. "
    "This is not a sandbox:\nit can read and change your files. "
    "Grade strangers' code in a container."
)


def grading(options: argparse.Namespace) -> int:
    """Grade every submission in a folder: a table, a CSV file, and results.json for each."""
    output = options.output
    found = submissions(options.folder, output)
    if output.exists() and not options.overwrite and (output.is_file() or any(output.iterdir())):
        raise ParityError(f"{output} is not empty: name another --output, or add --overwrite")
    if not all(0 < n < 1e6 for n in (options.seconds, options.memory, options.points or 1)):
        raise ParityError("--seconds, --memory and --points must be between 0 and a million")
    limits = Limits(options.seconds, options.memory, (*Limits.forbidden, *options.forbid))
    task = assignment(options.against, limits)
    tensors = sum(map(len, task.rubric.values()))
    each = (options.points or tensors) / tensors
    print(NO_SANDBOX.format(limits))
    print(f"parts: {len(task.rubric)}, tensors: {tensors}, points: {each * tensors:g}\n")
    width = min(24, max(map(len, [*found, "student"])))
    _print_row(width, "student", "parts", "points", "first culprit")
    results: dict[str, Result] = {}
    for student, path in found.items():
        folder = output if path == options.folder / "solution.py" else output / student
        files.make_folder(folder)
        result = results[student] = grade(task, path, folder / "reproduction.npz")
        marks = json.dumps(gradescope(result, each), indent=1)
        files.write(folder / "results.json", marks.encode())
        passed = sum(not any(faults.values()) for faults in result.faults.values())
        cells = f"{passed}/{len(task.rubric)}", f"{each * result.right:g}", result.culprit
        _print_row(width, student, *cells)
    files.write(output / "grades.csv", gradebook(results, task, each).encode())
    print(f"\nwritten: {output / 'grades.csv'}, and a results.json for each student")
    for kept in [r.reproduction for r in results.values() if r.reproduction][:1]:
        print(f"reproduce a failure: python -m parity replay {kept}")
    for reason in {r.unlimited for r in results.values() if r.unlimited}:
        print(f"memory was not limited, because this system cannot: {reason}")
    return 0


def submissions(folder: Path, output: Path) -> dict[str, Path]:
    """Return each student's file, which need not exist where there is a folder.

    Raises:
        ParityError: if there is no submission, or two of one name.
    """
    if (folder / "solution.py").exists():
        return {folder.resolve().name: folder / "solution.py"}
    found: dict[str, Path] = {}
    for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
        hidden = entry.name.startswith((".", "__")) or entry.resolve() == output.resolve()
        if hidden or not (entry.is_dir() or entry.suffix == ".py"):
            continue
        student = entry.name if entry.is_dir() else entry.stem
        if student in found:
            raise ParityError(f"{folder} has two submissions called {student}")
        found[student] = entry / "solution.py" if entry.is_dir() else entry
    if not found:
        raise ParityError(f"{folder} has no submission: neither STUDENT/solution.py nor STUDENT.py")
    return found


def gradescope(result: Result, each: float) -> dict[str, Any]:
    """Return a result as Gradescope's autograder reads it, one test for each layer of each part.

    The format: https://gradescope-autograders.readthedocs.io/en/latest/specs/
    """
    tests = []
    for part, faults in result.faults.items():
        for layer in dict.fromkeys(layer for layer, _ in faults):
            tensors = {tensor: fault for (at, tensor), fault in faults.items() if at == layer}
            right = sum(not fault for fault in tensors.values())
            test = {"name": f"{part}: {layer}" if layer else part, "score": each * right}
            test |= {"max_score": each * len(tensors), "status": "passed"}
            if right < len(tensors):
                said = [f"right: {tensor}" for tensor, fault in tensors.items() if not fault]
                said += [
                    f"wrong: {fault}" for fault in dict.fromkeys(filter(None, tensors.values()))
                ]
                test |= {"status": "failed", "output": "\n".join(said)}
            tests.append(test)
    output = result.culprit or "everything agrees with torch"
    seconds = round(result.seconds, 3)
    return {
        "score": each * result.right,
        "output": output,
        "execution_time": seconds,
        "tests": tests,
    }


def gradebook(results: dict[str, Result], task: Assignment, each: float) -> str:
    """Return a CSV table with a row for each student and a column for each tensor's points."""
    places = [(part, place) for part, places in task.rubric.items() for place in places]
    rows: list[list[Any]] = [
        ["student", "points", "of", "first culprit", "reproduction", "seconds"]
        + [", ".join(filter(None, [part, *place])) for part, place in places]
    ]
    for student, result in results.items():
        points = [0.0 if result.faults[part][place] else each for part, place in places]
        totals = [each * result.right, each * len(places)]
        told = [result.culprit, str(result.reproduction or ""), round(result.seconds, 3)]
        rows.append([student, *totals, *told, *points])
    text = io.StringIO()
    # A text that begins so is a formula to a spreadsheet, and a student may have written it.
    csv.writer(text).writerows(
        [f"'{v}" if isinstance(v, str) and v[:1] in set("=+-@") else v for v in row] for row in rows
    )
    return text.getvalue()


def _print_row(width: int, student: str, parts: str, points: str, culprit: str) -> None:
    line = f"{student:<{width}.{width}}  {parts:>5}  {points:>6}  {culprit}"
    line = "".join(letter if letter.isprintable() else " " for letter in line).rstrip()
    print(line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…", flush=True)
