"""The pictures of runs: one run's by its own process, many runs' by several, side by side."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

from training import environment, failures
from training.artefacts import RunLabel
from training.data import Dataset
from training.errors import OutputError, cannot_write
from training.evaluation import Scores
from training.loop import Row

#: The pictures of so many runs take longer than a process takes to start.
RUNS_PER_PROCESS = 4
ROOT = Path(__file__).resolve().parent.parent

Draw = Callable[[Path, list[Row], Scores, Dataset, RunLabel], object]


class Task(NamedTuple):
    """What `draw` needs besides the dataset."""

    directory: Path
    rows: list[Row]
    scores: Scores
    label: RunLabel


class Failure(NamedTuple):
    """A run whose pictures could not be drawn; expected if it is no defect of the program."""

    directory: Path
    text: str
    expected: bool


def draw(
    directory: Path, rows: list[Row], scores: Scores, dataset: Dataset, label: RunLabel
) -> None:
    """Draw a finished run's pictures into its folder.

    Raises:
        OSError: if they cannot be written.
    """
    from training import plots

    plots.curves(directory / "curves.png", rows, label)
    plots.confusion(directory / "confusion.png", scores, dataset, label)
    plots.worst(directory / "worst.png", scores, dataset, label)


@contextmanager
def side_by_side(runs: int, dataset: Dataset) -> Iterator[Draw]:
    """Give what draws as `draw` does or, for many runs, remembers what is to be drawn.

    That is then drawn at the block's end, by as many processes as pay off; `failures` are noted.

    Args:
        runs: how many there are at most.
        dataset: of all of them.
    """
    processes = min(environment.available_cores(), runs // RUNS_PER_PROCESS)
    if processes < 2:
        yield draw
        return
    tasks: list[Task] = []
    try:
        yield lambda directory, rows, scores, _, label: tasks.append(
            Task(directory, rows, scores, label)
        )
    finally:
        for failure in _share(tasks, dataset, processes):
            kind = OutputError if failure.expected else RuntimeError
            failures.note(failure.directory, kind(failure.text), sweep=True)


def _share(tasks: Sequence[Task], dataset: Dataset, processes: int) -> list[Failure]:
    nothing = dataset.train_images[:0], dataset.train_labels[:0]
    needed = replace(dataset, train_images=nothing[0], train_labels=nothing[1])
    parts = [part for part in (tasks[n::processes] for n in range(processes)) if part]
    started = [(part, _start(part, needed)) for part in parts]
    failed: list[Failure] = []
    for part, process in started:
        output, errors = process.communicate()
        if process.returncode == 0:
            failed += [Failure(*each) for each in pickle.loads(output)]
        else:
            text = f"its pictures were not drawn: {errors.decode(errors='replace')}"
            failed += [Failure(task.directory, text, expected=False) for task in part]
    return failed


def _start(tasks: Sequence[Task], dataset: Dataset) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with TemporaryFile() as file:
        pickle.dump((dataset, tasks), file)
        file.seek(0)
        return subprocess.Popen(
            [sys.executable, "-m", "training.pictures"],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for the process that trains
        )


def _draw_all() -> None:
    """Draw what standard input tells; write what failed to standard output."""
    dataset, tasks = pickle.load(sys.stdin.buffer)
    failed = []
    for directory, rows, scores, label in tasks:
        try:
            draw(directory, rows, scores, dataset, label)
        except Exception as error:
            reason = cannot_write(error, directory) if isinstance(error, OSError) else None
            text = reason or f"{error}\n{traceback.format_exc()}"
            failed.append((directory, text, reason is not None))
    pickle.dump(failed, sys.stdout.buffer)


if __name__ == "__main__":
    _draw_all()
