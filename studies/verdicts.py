"""A claim judged by the runs it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from studies.claim import Claim, Reading
from studies.groups import Spread, once_per_seed, spread
from studies.records import Record


@dataclass(frozen=True)
class Judgement:
    """What was measured, and what follows from it, in words."""

    measured: str
    verdict: str

    @property
    def holds(self) -> bool:
        """Whether the claim is reproduced or met."""
        return self.verdict.startswith(("reproduced", "met"))


def says_something(claim: Claim, record: Record) -> bool:
    """Return whether a run measures a claim, or diverged where it would have."""
    return record.status == "diverged" or claim.measure(record) is not None


def judge(claim: Claim, records: Sequence[Record]) -> Judgement:
    """Compare a claim with the runs, of at least one seed, that say something about it."""
    figures = [found for record in records if (found := claim.measure(record)) is not None]
    lost = len(records) - len(figures)
    note = f"; {lost} of {len(records)} diverged" if lost else ""
    if not figures:
        return Judgement(f"diverged in {lost} of {len(records)}", "not reproduced: diverges")
    spreads = [spread(column) for column in zip(*figures, strict=True)]
    return Judgement(_show(claim, spreads) + note, _verdict(claim, [s.mean for s in spreads]))


def note(claim: Claim, records: Sequence[Record]) -> str:
    """Return a claim's note with its figures; "" where the records do not give all of them."""
    figures = [_figure_of(reading, records) for reading in claim.readings]
    return "" if None in figures else claim.note.format(*figures)


def _figure_of(reading: Reading, records: Sequence[Record]) -> float | None:
    ours = [record for record in records if reading.concerns(record)]
    if reading.of == "mean":
        ours = once_per_seed(ours)
    values = [found[0] for record in ours if (found := reading.measure(record))]
    if not values:
        return None
    scale = 100 if "accuracy" in reading.column else 1
    match reading.of:
        case "greatest":
            return scale * max(values)
        case "range":
            return scale * (max(values) - min(values))
    return scale * spread(values).mean


def claimed(claim: Claim) -> str:
    """Return the report's figures in words."""
    if claim.rule == "falling":
        return "falling"
    figures = ", ".join(_figure(claim, value) for value in claim.claimed)
    if claim.rule == "close":
        tolerance = claim.tolerance * 100 if claim.percent else claim.tolerance
        return f"{figures} (± {tolerance:g})"
    return f"{claim.rule} {figures.replace(', ', ' and ')}"


def _verdict(claim: Claim, means: Sequence[float]) -> str:
    match claim.rule:
        case "at least":
            return "met" if means[0] >= claim.claimed[0] else "not met"
        case "at most":
            return "met" if means[0] <= claim.claimed[0] else "not met"
        case "between":
            low, high = claim.claimed
            return _yes(all(low <= mean <= high for mean in means))
        case "falling":
            return _yes(all(after < before for before, after in pairwise(means)))
    distances = [mean - figure for mean, figure in zip(means, claim.claimed, strict=True)]
    near = [abs(distance) <= claim.tolerance for distance in distances]
    if len(means) > 1:
        return f"{_yes(all(near))}: {sum(near)} of {len(near)} figures"
    if near[0]:
        return "reproduced"
    size = f"{abs(distances[0]) * 100:.2f} points" if claim.percent else f"{abs(distances[0]):.3g}"
    return f"not reproduced: {size} {'above' if distances[0] > 0 else 'below'}"


def _yes(holds: bool) -> str:
    return "reproduced" if holds else "not reproduced"


def _show(claim: Claim, spreads: Sequence[Spread]) -> str:
    if claim.percent:  # then it is one
        return spreads[0].text(percent=True)
    return ", ".join(_figure(claim, found.mean) for found in spreads)


def _figure(claim: Claim, value: float) -> str:
    if claim.percent:
        return f"{value * 100:.2f} %"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
