"""What a claim of a report is, and where in a run's record it is measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from training.records import Record

Rule = Literal["close", "at least", "at most", "between", "falling"]

LAST = -1


@dataclass(frozen=True)
class Claim:
    """One figure, or one row of figures, of a report.

    Attributes:
        report: R0 to R4, or "own" for what no report claims.
        text: what the figure is.
        experiment: the recipe it belongs to.
        claimed: the report's figures, one for each entry of `at`; the two limits for "between";
            none for "falling".
        tolerance: how far a measured mean may be from the figure; see docs/results.md.
        column: which column of the record holds it.
        source: which table: "metrics", "steps" or "evaluations".
        at: rows of that table, counted from 1, or LAST.
        window: rows, up to the one in `at`, whose mean is taken.
        changes: the settings in which the run differs from the recipe.
        rule: what makes the claim true: each figure "close" to the report's, "at least" or
            "at most" it, "between" two of them, or the figures "falling" from one to the next.
        percent: whether to write shares as percentages.
        note: what is known about the claim, for the reader of the result.
    """

    report: str
    text: str
    experiment: str
    claimed: tuple[float, ...]
    tolerance: float = 0.003
    column: str = "test_accuracy"
    source: str = "metrics"
    at: tuple[int, ...] = (LAST,)
    window: int = 1
    changes: dict[str, Any] = field(default_factory=dict)
    rule: Rule = "close"
    percent: bool = True
    note: str = ""

    def concerns(self, record: Record) -> bool:
        """Return whether the record is a run of what the claim is about.

        The number of epochs matters only to claims about the last.
        """
        kept = dict(record.changes)
        if LAST not in self.at:
            kept.pop("trainer.epochs", None)
        return record.experiment == self.experiment and kept == self.changes

    def measure(self, record: Record) -> list[float] | None:
        """Return the record's figures for this claim; None where it has not come that far."""
        rows = record.table(self.source)
        if LAST in self.at and record.status != "finished":
            return None
        figures = []
        for place in self.at:
            stop = len(rows) if place == LAST else place
            part = rows[max(0, stop - self.window) : stop]
            if stop > len(rows) or not part:
                return None
            figures.append(sum(row[self.column] for row in part) / len(part))
        return figures


@dataclass(frozen=True)
class Quirk:
    """A departure of a report from torch, and the study that switches it on and off.

    Every run of the experiment counts that differs from its recipe in the key alone or not at all.
    """

    report: str
    words: str
    experiment: str
    study: str
    key: str
    on: Any
    off: Any
