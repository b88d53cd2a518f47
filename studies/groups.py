"""Runs that differ in nothing but their seeds, taken together, and studies that compare them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Self

from studies.records import Record


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of a few numbers; the latter is None for a single one."""

    mean: float
    std: float | None
    count: int

    def text(self, percent: bool = False, digits: int = 2) -> str:
        """Return "98.85 ± 0.07 %" or, without percent, "0.0123 ± 0.0004"."""
        factor = 100 if percent else 1
        words = f"{self.mean * factor:.{digits}f}"
        if self.std is not None:
            words += f" ± {self.std * factor:.{digits}f}"
        return f"{words} %" if percent else words


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of at least one number."""
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


@dataclass(frozen=True)
class Group:
    """The runs of one setting."""

    values: dict[str, Any]  # what tells this setting from the others, by dotted name
    records: list[Record]  # of different seeds

    @property
    def finished(self) -> list[Record]:
        """Return the runs that came to their end; the others take part in no mean."""
        return [record for record in self.records if record.status == "finished"]

    @property
    def label(self) -> str:
        """Return the values in words, with the names' last parts."""
        return in_words(self.values) or "all"

    def finals(self, column: str) -> list[float]:
        """Return the finished runs' figures after the last epoch, in a column of metrics.csv."""
        return [record.last_epoch()[column] for record in self.finished]

    def settings(self) -> list[str]:
        """Return the values as one would write them."""
        return [show(value) for value in self.values.values()]


@dataclass(frozen=True)
class Study:
    """Runs to be compared, and how that is shown."""

    title: str  # what is varied; "" for a sweep without a study
    form: str  # "table", "curves" or "evaluations"
    column: str  # of metrics.csv
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

    @property
    def groups(self) -> list[Group]:
        """The runs by their settings."""
        return grouped(self.records)


def varied(records: Iterable[Record]) -> list[str]:
    """Return the settings, seeds apart, in which the runs differ; the backend comes last."""
    records = list(records)
    keys = list(dict.fromkeys(key for record in records for key in record.changes))
    return [
        key
        for key in [*keys, "backend.name"]
        if len({repr(record.setting(key)) for record in records}) > 1
    ]


def grouped(records: Sequence[Record]) -> list[Group]:
    """Put runs of equal settings together, in the order in which the settings first appear.

    Where all are equal, the settings in which they differ from the recipe are their values.
    """
    keys = varied(records) or list(records[0].changes)
    groups: dict[str, Group] = {}
    for record in records:
        values = {key: record.setting(key) for key in keys}
        groups.setdefault(repr(values), Group(values, [])).records.append(record)
    return list(groups.values())


def once_per_seed(records: Iterable[Record]) -> list[Record]:
    """Return one record of each seed: several studies may have kept the same run."""
    return list({record.seed: record for record in records}.values())


def in_words(settings: dict[str, Any]) -> str:
    """Return settings in words, with the names' last parts."""
    return ", ".join(f"{short(key)} {show(value)}" for key, value in settings.items())


def short(key: str) -> str:
    """Return a setting's own name: "lr" of optimizer.lr, and "init" of init.name."""
    return key.removesuffix(".name").rpartition(".")[2]


def show(value: Any) -> str:
    """Return a setting's value as one would write it."""
    if isinstance(value, bool) or value is None:
        return str(value).lower().replace("none", "null")
    return f"{value:g}" if isinstance(value, float) else str(value)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, with a line break at its end."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
