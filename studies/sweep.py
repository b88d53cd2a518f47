"""What a sweep ends with: study.csv, study.png, and a table on the terminal.

Runs that differ in their seeds alone are taken together. Failed and diverged runs are counted and
take part in no mean.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from studies import pictures
from studies.claims import reported
from studies.groups import Study, spread
from studies.records import find
from training.errors import ConfigError
from training.storage.files import write_atomically

Lines = list[list[str]]


def summarise(directory: Path) -> None:
    """Write and print what the sweep in directory shows, as far as its jobs have come."""
    try:
        records = find(directory)
        if not any(record.table("metrics") for record in records):
            raise ConfigError("no job has completed an epoch")
        study = Study.of(records)
        lines, words = _final_values(study) if study.form == "table" else (_curves(study), [])
    except ConfigError as error:
        print(f"no summary of the sweep: {error}")
        return
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    write_atomically(directory / "study.csv", text.getvalue().encode())
    pictures.draw(directory / "study.png", study)
    print(f"\n{study.heading}")
    if words:
        print(_aligned(words))
    print(f"{directory / 'study.csv'}\n{directory / 'study.png'}", flush=True)


def _final_values(study: Study) -> tuple[Lines, Lines]:
    """Return a line for each setting: the figures after the last epoch.

    First as numbers; then for readers, accuracies in per cent and no column without an entry.
    """
    groups, name = study.groups, study.column
    percent = "accuracy" in name
    digits = 2 if percent else 4
    head = [*groups[0].values, "runs", "failed", name]
    numbers, words = [[*head, "std", "reported"]], [[*head, "reported"]]
    for group in groups:
        values, claimed = group.finals(name), reported(group.records[0], name)
        found = spread(values) if values else None
        line = [*group.settings(), str(len(values)), str(len(group.records) - len(values))]
        figures = (found.mean, found.std, claimed) if found else (None, None, claimed)
        numbers.append([*line, *map(_number, figures)])
        texts = [found, None if claimed is None else spread([claimed])]
        words.append([*line, *(text.text(percent, digits) if text else "" for text in texts)])
    filled = [column for column in zip(*words, strict=True) if any(column[1:])]
    return numbers, [list(line) for line in zip(*filled, strict=True)]


def _curves(study: Study) -> Lines:
    """Return a line for each run and epoch, or for each of its evaluations on samples."""
    names, source, position = [study.column], "metrics", "epoch"
    if study.form == "evaluations":
        names, source, position = ["train_accuracy", "test_accuracy"], "evaluations", "step"
    groups = study.groups
    lines = [[*groups[0].values, "seed", position, *names]]
    for group in groups:
        for record in group.records:
            for row in record.table(source):
                figures = [f"{row[position]:g}", *(_number(row[name]) for name in names)]
                lines.append([*group.settings(), str(record.seed), *figures])
    return lines


def _aligned(lines: Lines) -> str:
    """Return lines of cells as a table of columns."""
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    return "\n".join(
        "  " + "  ".join(f"{c:<{w}}" for c, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
