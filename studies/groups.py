"""Runs that differ in nothing but their seeds, taken together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from studies.records import Record


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of a few numbers; the latter is None for a single one."""

    mean: float
    deviation: float | None
    count: int

    def text(self, percent: bool = False, digits: int = 2) -> str:
        """Return "98.85 ± 0.07 %" or, without percent, "0.0123 ± 0.0004"."""
        factor = 100 if percent else 1
        words = f"{self.mean * factor:.{digits}f}"
        if self.deviation is not None:
            words += f" ± {self.deviation * factor:.{digits}f}"
        return f"{words} %" if percent else words


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of at least one number."""
    count = len(values)
    mean = math.fsum(values) / count
    if count == 1:
        return Spread(mean, None, 1)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return Spread(mean, math.sqrt(squares / (count - 1)), count)


@dataclass(frozen=True)
class Group:
    """The runs of one setting.

    Attributes:
        values: what tells this setting from the others, by dotted name.
        records: its runs, of different seeds.
    """

    values: dict[str, Any]
    records: list[Record]

    @property
    def finished(self) -> list[Record]:
        """Return the runs that came to their end."""
        return [record for record in self.records if record.status == "finished"]

    @property
    def label(self) -> str:
        """Return the values in words, with the names' last parts."""
        return ", ".join(f"{short(k)} {show(v)}" for k, v in self.values.items()) or "all"


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


def short(key: str) -> str:
    """Return a setting's own name: "lr" of optimizer.lr, and "init" of init.name."""
    return key.removesuffix(".name").rpartition(".")[2]


def show(value: Any) -> str:
    """Return a setting's value as one would write it."""
    if isinstance(value, bool) or value is None:
        return str(value).lower().replace("none", "null")
    return f"{value:g}" if isinstance(value, float) else str(value)
