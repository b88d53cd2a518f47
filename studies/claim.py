"""What a claim of a report is, and where in a run's record it is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from statistics import fmean
from typing import Any, Literal, Self

import yaml

from studies.records import Record
from training.environment import CONF

Rule = Literal["close", "at least", "at most", "between", "falling"]

LAST = -1


def report_of(experiment: str) -> str:
    """Return the report that an experiment repeats: R0 to R4, or "own" for none."""
    name = experiment.partition("_")[0].upper()
    return name if name[1:].isdigit() else "own"


@dataclass(frozen=True)
class Measurement:
    """Figures in a run's record.

    Attributes:
        experiment: the recipe of the run.
        changes: the settings in which the run differs from the recipe; None for any.
        column: which column of the record holds them.
        source: which table: "metrics", "steps" or "evaluations".
        at: rows of that table, counted from 1, or LAST.
        window: rows, up to the one in `at`, whose mean is taken.
    """

    experiment: str
    _: KW_ONLY
    changes: Mapping[str, Any] | None = field(default_factory=dict)
    column: str = "test_accuracy"
    source: str = "metrics"
    at: tuple[int, ...] = (LAST,)
    window: int = 1

    @property
    def report(self) -> str:
        """The report that says so: R0 to R4, or "own" for what none does."""
        return report_of(self.experiment)

    def concerns(self, record: Record) -> bool:
        """Return whether the record is a run of what is measured.

        The number of epochs matters only to measurements at the last.
        """
        kept = dict(record.changes)
        if LAST not in self.at:
            kept.pop("trainer.epochs", None)
        return record.experiment == self.experiment and self.changes in (None, kept)

    def measure(self, record: Record) -> list[float] | None:
        """Return the record's figures; None where it has not come that far."""
        rows = record.table(self.source)
        if LAST in self.at and record.status != "finished":
            return None
        figures = []
        for place in self.at:
            stop = len(rows) if place == LAST else place
            part = rows[max(0, stop - self.window) : stop]
            if stop > len(rows) or not part:
                return None
            figures.append(fmean(row[self.column] for row in part))
        return figures


@dataclass(frozen=True)
class Reading(Measurement):
    """One figure in a note.

    Attributes:
        of: what is told of several runs: their "mean", the "greatest", or the "range" between the
            least and the greatest.
    """

    of: Literal["mean", "greatest", "range"] = "mean"


@dataclass(frozen=True)
class Claim(Measurement):
    """One figure, or one row of figures, of a report.

    Attributes:
        text: what the figure is.
        claimed: the report's figures, one for each entry of `at`; the two limits for "between";
            none for "falling".
        tolerance: how far a measured mean may be from the figure; see docs/results.md.
        rule: what makes the claim true: each figure "close" to the report's, "at least" or
            "at most" it, "between" two of them, or the figures "falling" from one to the next.
        note: what explains the result, in sentences, as a format string.
        readings: the measured figures that the note's fields stand for, shares as percentages;
            where one of them has no record, there is no note.
    """

    text: str
    claimed: tuple[float, ...]
    _: KW_ONLY
    tolerance: float = 0.003
    rule: Rule = "close"
    note: str = ""
    readings: tuple[Reading, ...] = ()

    @property
    def percent(self) -> bool:
        """Whether its figures are written as percentages: a single share is, a row of them not."""
        return "accuracy" in self.column and len(self.at) == 1


@dataclass(frozen=True)
class Quirk:
    """A departure of a report from torch, in words, and the two values of the setting behind it.

    Every run of the experiment counts that differs from its recipe in the key alone or not at all.
    """

    words: str
    experiment: str
    key: str
    on: Any
    off: Any

    @classmethod
    def of(cls, study: str, words: str) -> Self:
        """Return the departure that a study of conf/study switches on and off."""
        content = yaml.safe_load((CONF / "study" / f"{study}.yaml").read_text("utf-8"))
        key, values = next(iter(content["hydra"]["sweeper"]["params"].items()))
        on, off = map(yaml.safe_load, values.split(","))
        return cls(words, content["defaults"][0]["override /experiment"], key, on, off)

    @property
    def report(self) -> str:
        """The report it is of."""
        return report_of(self.experiment)
