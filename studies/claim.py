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
    """Figures in a run's record."""

    experiment: str  # the recipe of the run
    _: KW_ONLY
    changes: Mapping[str, Any] | None = field(default_factory=dict)  # from it; None: any
    column: str = "test_accuracy"
    source: str = "metrics"  # or the tables "steps", "evaluations"
    at: tuple[int, ...] = (LAST,)  # rows of that table, counted from 1
    window: int = 1  # rows, up to the one in `at`, whose mean is taken

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
    """One figure in a note, of several runs their mean, the greatest, or greatest less least."""

    of: Literal["mean", "greatest", "range"] = "mean"


@dataclass(frozen=True)
class Claim(Measurement):
    """One figure, or one row of figures, of a report."""

    text: str  # what the figure is
    # The report's figures, one for each entry of `at`; the two limits for "between"; none for
    # "falling".
    claimed: tuple[float, ...]
    _: KW_ONLY
    tolerance: float = 0.003  # how far a measured mean may be from a "close" figure
    # What makes the claim true of the figures; "falling": from one to the next.
    rule: Rule = "close"
    note: str = ""  # what explains the result, in sentences, as a format string
    # The measured figures that the note's fields stand for, shares as percentages; where one of
    # them has no record, there is no note.
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
