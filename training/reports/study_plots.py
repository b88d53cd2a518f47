"""A study's picture, from its runs: final values by setting, or curves over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from training import plots
from training.artefacts import RunLabel
from training.loop import Row
from training.reports.claims import reported, reported_course
from training.reports.records import Record, Table
from training.reports.statistics import Group, grouped, short, show, spread
from training.reports.studies import Study

MEASURED, CLAIMED = plots.TRAIN, plots.TEST

#: Settings beside each other from which on their labels stand upright.
CROWDED = 6


def draw(path: Path, study: Study) -> None:
    """Draw a study in its own form, beside the report's figures."""
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    groups = grouped(study.records)
    match study.form:
        case "table":
            _final_values(axes, groups, study.column)
        case "curves":
            _curves(axes, groups, study.column)
        case _:
            _evaluations(axes, groups)
    plots.plain(axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    figure.suptitle(study.heading)
    plots.save(figure, path)


def batch_curves(path: Path, record: Record, window: int = 20) -> None:
    """Draw loss and accuracy by iteration from steps.csv, with their running means."""
    rows = record.table("steps")
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axes, name in zip(panels, ("loss", "accuracy"), strict=True):
        steps, values = [row["step"] for row in rows], [row[name] for row in rows]
        axes.plot(steps, values, color=MEASURED, alpha=0.3, linewidth=0.6, label="batch")
        means = [_mean(values[max(0, i - window + 1) : i + 1]) for i in range(len(values))]
        axes.plot(steps, means, color=MEASURED, linewidth=1.2, label=f"mean of {window}")
        axes.set_xlabel("iteration")
        axes.set_ylabel(f"training {name}")
        plots.plain(axes)
    panels[0].set_yscale("log")
    panels[0].legend(frameon=False)
    panels[1].yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    figure.suptitle(f"{_label(record)}, by iteration")
    plots.save(figure, path)


def epoch_curves(path: Path, record: Record) -> None:
    """Draw loss and accuracy of both sets over the epochs from metrics.csv."""
    rows = [Row(int(row.pop("epoch")), **row) for row in record.table("metrics")]
    plots.curves(path, rows, _label(record))


def _label(record: Record) -> RunLabel:
    model = str(record.setting("model.name"))
    return RunLabel(model, record.backend, record.dataset, record.seed)


def _final_values(axes: Axes, groups: Sequence[Group], name: str) -> None:
    keys = list(groups[0].values)
    numbers = [group.values[key] for group in groups for key in keys]
    by_number = len(keys) == 1 and all(isinstance(n, float) and n > 0 for n in numbers)
    places = numbers if by_number else list(range(len(groups)))
    for place, group in zip(places, groups, strict=True):
        values = [record.last_epoch()[name] for record in group.finished]
        claimed = reported(group.records[0], name)
        if values:
            found = spread(values)
            error = [[found.deviation or 0]] * 2
            axes.errorbar([place], [found.mean], error, fmt="o", color=MEASURED, capsize=4)
            if len(values) > 1:
                axes.plot([place] * len(values), values, "_", color=MEASURED, alpha=0.6)
            text = f"{found.mean * 100:.2f}" if "accuracy" in name else f"{found.mean:.4g}"
            axes.annotate(text, (place, found.mean), (7, 4), textcoords="offset points", fontsize=8)
        if claimed is not None:
            axes.plot([place], [claimed], "D", markersize=8, mfc="none", color=CLAIMED)
    axes.plot([], [], "o", color=MEASURED, label="measured")
    if any(reported(group.records[0], name) is not None for group in groups):
        axes.plot([], [], "D", mfc="none", color=CLAIMED, label="reported")
    if by_number:
        axes.set_xscale("log")
        axes.set_xticks(places, [show(place) for place in places])
        axes.minorticks_off()
        axes.set_xlabel(short(keys[0]))
    else:
        if len(groups) <= CROWDED:
            axes.set_xticks(places, [g.label.replace(", ", "\n") for g in groups], fontsize=8)
        else:
            labels = [", ".join(map(show, group.values.values())) for group in groups]
            axes.set_xticks(places, labels, fontsize=8, rotation=90)
            axes.set_xlabel(", ".join(map(short, keys)))
        axes.set_xlim(-0.5, len(groups) - 0.5)
    _name(axes, name)


def _curves(axes: Axes, groups: Sequence[Group], name: str) -> None:
    colours = plt.get_cmap("tab10")
    for number, group in enumerate(groups):
        rows = _average([record.table("metrics") for record in group.finished or group.records])
        epochs, colour = [row["epoch"] for row in rows], colours(number % 10)
        axes.plot(epochs, [row[name] for row in rows], "o-", color=colour, label=group.label)
        claimed = reported_course(group.records[0], name)
        if claimed:
            label = f"{group.label}, reported"
            axes.plot(*zip(*claimed, strict=True), "D--", mfc="none", color=colour, label=label)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _name(axes, name)


def _evaluations(axes: Axes, groups: Sequence[Group]) -> None:
    for group in groups:
        rows = _average([record.table("evaluations") for record in group.finished or group.records])
        for name, colour in (("train_accuracy", MEASURED), ("test_accuracy", CLAIMED)):
            label = f"{name.partition('_')[0]} {'' if len(groups) == 1 else group.label}".strip()
            values = [row[name] for row in rows]
            axes.plot([row["epoch"] for row in rows], values, "o-", color=colour, label=label)
            claimed = reported_course(group.records[0], name, "evaluations")
            if claimed:
                axes.plot(
                    [position - 1 for position, _ in claimed],
                    [value for _, value in claimed],
                    "D--",
                    mfc="none",
                    color=colour,
                    alpha=0.6,
                    label=f"{label}, reported",
                )
    axes.set_xlabel("completed epochs (0: after the first step)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _name(axes, "accuracy on samples")


def _average(tables: Sequence[Table]) -> Table:
    """Return the mean of several runs' rows, as far as all of them have come."""
    return [
        {name: _mean([row[name] for row in rows]) for name in rows[0]}
        for rows in zip(*(table for table in tables if table), strict=False)
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _name(axes: Axes, name: str) -> None:
    axes.set_ylabel(name.replace("_", " "))
    if "accuracy" in name:
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
