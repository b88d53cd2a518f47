"""Pictures of studies, final values by setting or curves over the epochs, and of kept runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import MaxNLocator

from studies.claims import reported, reported_curve
from studies.groups import Group, Study, short, spread
from studies.records import Record, Table
from training.storage.tables import Row
from training.trainer import pictures

MEASURED, CLAIMED = pictures.TRAIN, pictures.TEST

SINGLE = "#333333"
#: Inches of a picture's height that one setting takes.
LINE = 0.26


def draw(path: Path, study: Study) -> None:
    """Draw a study in its own form, beside the report's figures."""
    groups = study.groups
    height = 2 + LINE * len(groups) if study.form == "table" else 4.5
    figure, axes = plt.subplots(figsize=(8, height), layout="constrained")
    match study.form:
        case "table":
            _final_values(axes, groups, study.column)
        case "curves":
            _curves(axes, groups, study.column)
        case _:
            _evaluations(axes, groups)
    pictures.plain(axes)
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    columns = 4 if len(once) < 5 else 3
    figure.legend(once.values(), once, loc="outside lower center", ncols=columns, frameon=False)
    figure.suptitle(study.heading)
    pictures.save(figure, path)


def batch_curves(path: Path, record: Record, window: int = 20) -> None:
    """Draw loss and accuracy by iteration from steps.csv, with their running means."""
    rows = record.table("steps")
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axes, name in zip(panels, ("loss", "accuracy"), strict=True):
        steps, values = [row["step"] for row in rows], [row[name] for row in rows]
        axes.plot(steps, values, color=MEASURED, alpha=0.3, linewidth=0.6, label="batch")
        means = [fmean(values[max(0, i - window + 1) : i + 1]) for i in range(len(values))]
        axes.plot(steps, means, color=MEASURED, linewidth=1.2, label=f"mean of {window}")
        axes.set_xlabel("iteration")
        axes.set_ylabel(f"training {name}")
        pictures.plain(axes)
    panels[0].set_yscale("log")
    panels[0].legend(frameon=False)
    pictures.percent(panels[1].yaxis)
    figure.suptitle(f"{_label(record)}, by iteration")
    pictures.save(figure, path)


def epoch_curves(path: Path, record: Record) -> None:
    """Draw loss and accuracy of both sets over the epochs from metrics.csv."""
    rows = [Row(int(row.pop("epoch")), **row) for row in record.table("metrics")]
    pictures.curves(path, rows, _label(record))


def _label(record: Record) -> str:
    model = record.setting("model.name")
    return f"{model} on {record.backend}, {record.dataset}, seed {record.seed}"


def _final_values(axes: Axes, groups: Sequence[Group], name: str) -> None:
    """Give each setting a line: its mean, standard deviation, runs and the report's figure."""
    percent = "accuracy" in name
    for place, group in enumerate(groups):
        values = group.finals(name)
        claimed = reported(group.records[0], name)
        text = "diverged"
        if values:
            found = spread(values)
            text = found.text(percent, digits=2 if percent else 4)
            if found.std is not None:
                axes.plot(values, [place] * len(values), "|", color=SINGLE, label="single run")
                ends = [found.mean - found.std, found.mean + found.std]
                (bar,) = axes.plot(ends, [place, place], label="± standard deviation")
                bar.set(color=MEASURED, linewidth=2.5, alpha=0.5)
            axes.plot([found.mean], [place], "o", color=MEASURED, label="measured (mean)")
        if claimed is not None:
            axes.plot([claimed], [place], "D", ms=8, mfc="none", color=CLAIMED, label="reported")
        across = axes.get_yaxis_transform()
        axes.text(1.01, place, text, transform=across, fontsize=8, va="center")
    labels = [", ".join(group.settings()) for group in groups]
    axes.set_yticks(range(len(groups)), labels, fontsize=8)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_ylabel(", ".join(map(short, groups[0].values)))
    _name(axes.xaxis, name)


def _curves(axes: Axes, groups: Sequence[Group], name: str) -> None:
    colours = plt.get_cmap("tab10")
    for number, group in enumerate(groups):
        rows = _average([record.table("metrics") for record in group.finished or group.records])
        epochs, colour = [row["epoch"] for row in rows], colours(number % 10)
        axes.plot(epochs, [row[name] for row in rows], "o-", color=colour, label=group.label)
        claimed = reported_curve(group.records[0], name)
        if claimed:
            label = f"{group.label}, reported"
            axes.plot(*zip(*claimed, strict=True), "D--", mfc="none", color=colour, label=label)
    pictures.by_epoch(axes, max(int(axes.dataLim.x1), 1))
    _name(axes.yaxis, name)


def _evaluations(axes: Axes, groups: Sequence[Group]) -> None:
    for group in groups:
        rows = _average([record.table("evaluations") for record in group.finished or group.records])
        for name, colour in (("train_accuracy", MEASURED), ("test_accuracy", CLAIMED)):
            label = f"{name.partition('_')[0]} {'' if len(groups) == 1 else group.label}".strip()
            values = [row[name] for row in rows]
            axes.plot([row["epoch"] for row in rows], values, "o-", color=colour, label=label)
            claimed = reported_curve(group.records[0], name, "evaluations")
            if claimed:
                points = zip(*((row - 1, value) for row, value in claimed), strict=True)
                look: dict[str, Any] = {"mfc": "none", "color": colour, "alpha": 0.6}
                axes.plot(*points, "D--", label=f"{label}, reported", **look)
    axes.set_xlabel("completed epochs (0: after the first step)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _name(axes.yaxis, "accuracy on samples")


def _average(tables: Sequence[Table]) -> Table:
    """Return the mean of several runs' rows, as far as all of them have come."""
    return [
        {name: fmean([row[name] for row in rows]) for name in rows[0]}
        for rows in zip(*(table for table in tables if table), strict=False)
    ]


def _name(axis: Axis, name: str) -> None:
    axis.set_label_text(name.replace("_", " "))
    if "accuracy" in name:
        pictures.percent(axis)
