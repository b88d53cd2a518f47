"""The tables of docs/results.md: the reports' claims, and their departures from torch."""

from __future__ import annotations

from collections.abc import Sequence

from studies import verdicts
from studies.claim import Claim, Quirk
from studies.claims import CLAIMS, QUIRKS
from studies.groups import once_per_seed, spread
from studies.records import Record

NOT_RUN = "not run yet"


def claims(records: Sequence[Record]) -> str:
    """Return the section of the claims, with their verdicts and notes."""
    lines = ["| report | claim | claimed | measured | verdict |", "| --- | --- | --- | --- | --- |"]
    notes: list[str] = []
    for claim in CLAIMS:
        concerned = [record for record in records if claim.concerns(record)]
        measured, verdict = _verdict(claim, concerned)
        text = claim.text
        note = verdicts.note(claim, records)
        if note:
            notes.append(note)
            text += f" [{len(notes)}]"
        lines.append(
            f"| {claim.report} | {text} | {verdicts.claimed(claim)} | {measured} | {verdict} |"
        )
    remarks = "".join(f"\n{number}. {note}" for number, note in enumerate(notes, 1))
    return "## The claims\n\n" + "\n".join(lines) + f"\n{remarks}\n"


def _verdict(claim: Claim, records: Sequence[Record]) -> tuple[str, str]:
    """Return the cells of a claim; the verdict is by the report's own backend where it was run."""
    done = [record for record in records if verdicts.says_something(claim, record)]
    if not done:
        return NOT_RUN, NOT_RUN
    own = _own_backend(claim.report)
    cells, judged = [], ""
    for backend in sorted({record.backend for record in done}, key=lambda name: name != own):
        ours = once_per_seed(record for record in done if record.backend == backend)
        found = verdicts.judge(claim, ours)
        cells.append(f"{found.measured} ({backend}, n = {len(ours)})")
        judged = judged or found.verdict
    return "; ".join(cells), judged


def quirks(records: Sequence[Record]) -> str:
    """Return the section of the departures, with what each of them gains."""
    lines = [
        "| report | departure from torch | with it | without | what it gains |",
        "| --- | --- | --- | --- | --- |",
    ]
    for quirk in QUIRKS:
        ours = [record for record in records if _measures(quirk, record)]
        lines.append(f"| {quirk.report} | {quirk.words} | {' | '.join(_effect(quirk, ours))} |")
    return (
        "## The reports' departures from torch\n\n"
        "Final test accuracy with each departure as in the report's recipe, and with torch's rule\n"
        "in its place and nothing else changed.\n\n" + "\n".join(lines) + "\n"
    )


def _measures(quirk: Quirk, record: Record) -> bool:
    return (
        record.experiment == quirk.experiment
        and record.backend == _own_backend(quirk.report)
        and record.changes.keys() <= {quirk.key}
        and record.status == "finished"
    )


def _own_backend(report: str) -> str:
    return "torch" if report == "R1" else "numpy"


def _effect(quirk: Quirk, records: Sequence[Record]) -> list[str]:
    sides: list[list[float]] = []
    for value in (quirk.on, quirk.off):
        ours = once_per_seed(r for r in records if r.setting(quirk.key) == value)
        sides.append([record.last_epoch()["test_accuracy"] for record in ours])
    if not all(sides):
        return [NOT_RUN] * 3
    on, off = (spread(side) for side in sides)
    texts = [f"{found.text(percent=True)} (n = {found.count})" for found in (on, off)]
    return [*texts, f"{(on.mean - off.mean) * 100:+.2f} points"]
