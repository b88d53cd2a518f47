"""docs/results.md: every claim of the reports with its measurement and what explains it.

In docs/results are written studies.md, runs.md and the pictures of all three pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from studies import pictures, study_page, verdicts
from studies.claim import Claim, Quirk
from studies.claims import CLAIMS, QUIRKS, REPORTS
from studies.collection import RUNS, kept
from studies.groups import once_per_seed, spread, table
from studies.records import Record
from training.storage.files import write_atomically

NOT_RUN = "not run yet"
Judged = Sequence[tuple[Claim, verdicts.Judgement]]
PICTURES = "pictures"

_HEAD = """# Results

What five reports claim, and what their recipes give here on MNIST. `python -m studies` writes this
page from the records in [{folder}/{runs}]({folder}/{runs}); to change it, edit `studies/claims.py`.

A measured figure is a mean over n seeds, with the sample standard deviation. A claimed figure is
*reproduced* if the mean lies within the tolerance given in brackets; a claimed bound is *met* if it
holds. For test accuracies the tolerance is 0.3 points: three standard errors of an accuracy near
99 % on 10,000 images. [assumptions.md](assumptions.md) lists what the reports leave open and what
was chosen, [reproduce.md](reproduce.md) the commands, [{folder}/studies.md]({folder}/studies.md)
the table and picture of every study, and [{folder}/runs.md]({folder}/runs.md) the hardware,
versions and time of every run.
"""


def write(results: Path) -> Path:
    """Write the page beside the folder of results, the rest inside; return the page.

    Nothing that is there is touched before all of it has been made.
    """
    results = results.resolve()
    records = kept(results / RUNS)
    page, gallery = results.with_name(f"{results.name}.md"), results / PICTURES
    with TemporaryDirectory() as folder:
        pages = {
            page: _page(records, results.name, Path(folder)),
            results / "studies.md": study_page.studies(records, page.name, PICTURES, Path(folder)),
            results / "runs.md": study_page.runs(records),
        }
        drawn = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    gallery.mkdir(exist_ok=True)
    for name, content in drawn.items():
        write_atomically(gallery / name, content)
    for path, text in pages.items():
        write_atomically(path, text.encode())
    for old in gallery.glob("*.png"):
        if old.name not in drawn:
            old.unlink()
    return page


def _page(records: Sequence[Record], folder: str, gallery: Path) -> str:
    judged = [(claim, _judge(claim, records)) for claim in CLAIMS]
    parts = [_HEAD.format(folder=folder, runs=RUNS), _overview(judged)]
    for report in REPORTS:
        ours = [(claim, found) for claim, found in judged if claim.report == report]
        parts.append(_report(report, ours, records))
        for experiment in dict.fromkeys(claim.experiment for claim, _ in ours):
            parts.append(_curve(experiment, records, f"{folder}/{PICTURES}", gallery))
    parts.append(_quirks(records))
    return "\n".join(part for part in parts if part)


def _overview(judged: Judged) -> str:
    """Return each report's first claim, and how many of all its claims hold."""
    rows = []
    for report, (network, _) in REPORTS.items():
        ours = [(claim, found) for claim, found in judged if claim.report == report]
        first, found = ours[0]
        claim = f"{first.text}: {verdicts.claimed(first)}"
        holding = f"{sum(found.holds for _, found in ours)} of {len(ours)}"
        rows.append([report, f"`{network}`", claim, found.measured, holding])
    return table(["report", "network", "claim", "measured", "claims that hold"], rows)


def _report(report: str, judged: Judged, records: Sequence[Record]) -> str:
    """Return a report's claims with their verdicts, and what is known about them."""
    network, words = REPORTS[report]
    title = f"## {words}" if report == "own" else f"## {report}: {words} (`{network}`)"
    rows = [
        [claim.text, verdicts.claimed(claim), found.measured, found.verdict]
        for claim, found in judged
    ]
    text = f"{title}\n\n{table(['claim', 'claimed', 'measured', 'verdict'], rows)}"
    notes = dict.fromkeys(filter(None, (verdicts.note(claim, records) for claim, _ in judged)))
    return text + ("\n" if notes else "") + "".join(f"- {note}\n" for note in notes)


def _judge(claim: Claim, records: Sequence[Record]) -> verdicts.Judgement:
    """Judge a claim by the runs on each backend; the report's own gives the verdict."""
    ours = [r for r in records if claim.concerns(r) and verdicts.says_something(claim, r)]
    if not ours:
        return verdicts.Judgement(NOT_RUN, NOT_RUN)
    own, cells, verdict = _own_backend(claim.report), [], ""
    for backend in sorted({record.backend for record in ours}, key=lambda name: name != own):
        runs = once_per_seed(record for record in ours if record.backend == backend)
        found = verdicts.judge(claim, runs)
        cells.append(f"{found.measured} ({backend}, n = {len(runs)})")
        verdict = verdict or found.verdict
    return verdicts.Judgement("; ".join(cells), verdict)


def _curve(experiment: str, records: Sequence[Record], link: str, gallery: Path) -> str:
    """Draw one run of the unchanged recipe, by iteration where it was recorded."""
    ours = [
        record
        for record in records
        if record.experiment == experiment and not record.changes and record.table("metrics")
    ]
    if not ours:
        return ""
    record = next((record for record in ours if record.table("steps")), ours[0])
    name, by_step = f"curve-{experiment}.png", bool(record.table("steps"))
    draw = pictures.batch_curves if by_step else pictures.epoch_curves
    draw(gallery / name, record)
    return f"![{experiment} by {'iteration' if by_step else 'epoch'}]({link}/{name})\n"


def _quirks(records: Sequence[Record]) -> str:
    """Return the departures from torch, with what each of them gains."""
    rows = [
        [quirk.report, quirk.words, *_effect(quirk, [r for r in records if _measures(quirk, r)])]
        for quirk in QUIRKS
    ]
    return (
        "## The reports' departures from torch\n\n"
        "Final test accuracy with each departure, as in the report's recipe, and without it, with\n"
        "torch's rule in its place and nothing else changed.\n\n"
        + table(["report", "departure from torch", "with it", "without", "gain"], rows)
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
