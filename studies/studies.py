"""What a sweep ends with: study.csv, study.png, and a table on the terminal.

Runs that differ in their seeds alone are taken together. Failed and diverged runs are counted and
take part in no mean.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from studies.claims import reported
from studies.groups import Group, grouped, show, spread
from studies.records import Record, find
from training.errors import ConfigError
from training.storage.files import write_atomically

Lines = list[list[str]]


@dataclass(frozen=True)
class Study:
    """Runs to be compared, and how that is shown.

    Attributes:
        title: what is varied; "" for a sweep without a study.
        form: "table", "curves" or "evaluations".
        column: the column of metrics.csv to compare.
        records: the runs.
    """

    title: str
    form: str
    column: str
    records: Sequence[Record]

    @classmethod
    def of(cls, jobs: Sequence[Record], beside: Sequence[Record] = ()) -> Self:
        """Return the study that jobs belong to, with runs of other studies beside them."""
        settings = jobs[0].config["study"]
        records = [*jobs, *beside]
        return cls(settings["title"] or "", settings["form"], settings["column"], records)

    @property
    def heading(self) -> str:
        """A line that says what is compared, on which data."""
        datasets = sorted({record.dataset for record in self.records} - {""})
        models = sorted({str(record.setting("model.name")) for record in self.records})
        data = " and ".join(datasets) or "no data"
        return f"{self.title or 'Sweep'}: {', '.join(models)} on {data}"


def report(directory: Path) -> None:
    """Write and print the report of the sweep in directory, as far as its jobs have come."""
    from studies import study_plots

    try:
        records = find(directory)
        if not any(record.table("metrics") for record in records):
            raise ConfigError("no job has completed an epoch")
        study = Study.of(records)
        lines = table(study)
    except ConfigError as error:
        print(f"no report of the sweep: {error}")
        return
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    write_atomically(directory / "study.csv", text.getvalue().encode())
    study_plots.draw(directory / "study.png", study)
    print(f"\n{study.heading}")
    if study.form == "table":
        print(aligned(_in_words(study)))
    print(f"{directory / 'study.csv'}\n{directory / 'study.png'}", flush=True)


def table(study: Study) -> Lines:
    """Return the study's CSV as a header and lines of text, by its form."""
    groups = grouped(study.records)
    if study.form == "table":
        return _final_values(groups, study.column)
    names = ["train_accuracy", "test_accuracy"]
    source, position = "evaluations", "step"
    if study.form == "curves":
        names, source, position = [study.column], "metrics", "epoch"
    return _courses(groups, source, position, names)


def _final_values(groups: Sequence[Group], name: str) -> Lines:
    keys = list(groups[0].values)
    lines = [[*keys, "runs", "failed", name, "deviation", "reported"]]
    for group in groups:
        values = [record.last_epoch()[name] for record in group.finished]
        cells = ["", ""]
        if values:
            found = spread(values)
            cells = [_number(found.mean), _number(found.deviation)]
        claimed = reported(group.records[0], name)
        settings = [show(group.values[key]) for key in keys]
        counts = [str(len(values)), str(len(group.records) - len(values))]
        lines.append([*settings, *counts, *cells, _number(claimed)])
    return lines


def _in_words(study: Study) -> Lines:
    """Return a table for readers: accuracies as percentages, and no column without an entry."""
    name, groups = study.column, grouped(study.records)
    percent = "accuracy" in name
    digits = 2 if percent else 4
    keys = list(groups[0].values)
    lines = [[*keys, "runs", "failed", name, "reported"]]
    for group in groups:
        values = [record.last_epoch()[name] for record in group.finished]
        claimed = reported(group.records[0], name)
        found = spread(values).text(percent, digits) if values else ""
        claim = "" if claimed is None else spread([claimed]).text(percent, digits)
        settings = [show(group.values[key]) for key in keys]
        counts = [str(len(values)), str(len(group.records) - len(values))]
        lines.append([*settings, *counts, found, claim])
    filled = [column for column in zip(*lines, strict=True) if any(column[1:])]
    return [list(line) for line in zip(*filled, strict=True)]


def _courses(groups: Sequence[Group], source: str, position: str, names: list[str]) -> Lines:
    keys = list(groups[0].values)
    lines = [[*keys, "seed", position, *names]]
    for group in groups:
        settings = [show(group.values[key]) for key in keys]
        for record in group.records:
            for row in record.table(source):
                figures = [f"{row[position]:g}", *(_number(row[name]) for name in names)]
                lines.append([*settings, str(record.seed), *figures])
    return lines


def aligned(lines: Lines) -> str:
    """Return lines of cells as a table of columns."""
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    return "\n".join(
        "  " + "  ".join(f"{c:<{w}}" for c, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.6g}"
