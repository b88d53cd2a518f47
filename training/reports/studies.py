"""What a sweep ends with: study.csv, study.png, and a table on the terminal.

Runs that differ in their seeds alone are taken together. Failed and diverged runs are counted and
take part in no mean.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.errors import ConfigError
from training.files import write_atomically
from training.reports.claims import reported
from training.reports.records import Record, find
from training.reports.statistics import Group, grouped, show, spread

Lines = list[list[str]]


def report(directory: Path) -> None:
    """Write and print the report of the sweep in directory, as far as its jobs have come."""
    from training.reports import study_plots

    try:
        records = find(directory)
        if not any(record.table("metrics") for record in records):
            raise ConfigError("no job has completed an epoch")
        lines = table(records)
    except ConfigError as error:
        print(f"no report of the sweep: {error}")
        return
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    write_atomically(directory / "study.csv", text.getvalue().encode())
    study_plots.draw(directory / "study.png", records)
    print(f"\n{heading(records)}")
    if form(records) == "table":
        print(aligned(lines))
    print(f"{directory / 'study.csv'}\n{directory / 'study.png'}", flush=True)


def heading(records: Sequence[Record]) -> str:
    """Return a line that says what is compared, on which data."""
    title = records[0].config["study"]["title"] or "Sweep"
    datasets = sorted({record.dataset for record in records} - {""})
    models = sorted({str(record.setting("model.name")) for record in records})
    return f"{title}: {', '.join(models)} on {' and '.join(datasets) or 'no data'}"


def form(records: Sequence[Record]) -> str:
    """Return the study's form: table, curves or evaluations."""
    return str(records[0].config["study"]["form"])


def column(records: Sequence[Record]) -> str:
    """Return the column of metrics.csv that the study compares."""
    return str(records[0].config["study"]["column"])


def table(records: Sequence[Record]) -> Lines:
    """Return the study's CSV as a header and lines of text, by its form."""
    groups = grouped(records)
    if form(records) == "table":
        return _final_values(groups, column(records))
    names = ["train_accuracy", "test_accuracy"]
    source, position = "evaluations", "step"
    if form(records) == "curves":
        names, source, position = [column(records)], "metrics", "epoch"
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
