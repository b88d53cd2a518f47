"""docs/results.md: every claim of the reports beside what was measured, from the kept records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from studies import study_plots
from studies.collection import RUNS, kept
from studies.groups import Group, grouped, short, show, spread, varied
from studies.records import Record
from studies.studies import Study
from studies.tables import NOT_RUN, claims, quirks
from training.storage.files import write_atomically

PICTURES = "pictures"

_HEAD = """# Results: claim against measurement

Written by `python -m studies` from the records in [{runs}]({runs}); edit
`studies/claims.py`, not this page. All runs are on MNIST. Means are over seeds, with the
sample standard deviation; n is the number of runs.

*Reproduced* means that the mean is no farther from the report's figure than the tolerance in the
claim. It is 0.3 points for test accuracies, three times the chance variation of an accuracy near
99 % on 10,000 images. A claim without a record says "{not_run}". The silent points of each report
and what was chosen for them are in [assumptions.md](assumptions.md), the commands in
[reproduce.md](reproduce.md).
"""


class _Gallery(NamedTuple):
    """Where pictures are drawn, and what the page calls that place."""

    folder: Path
    link: str


def write(results: Path) -> Path:
    """Write the page beside the folder of results, and the pictures inside; return the page.

    Nothing that is there is touched before all of it has been made.

    Raises:
        ConfigError: if the folder has no records, or a damaged one.
        OSError: if the page or a picture cannot be written.
    """
    results = results.resolve()
    records = kept(results / RUNS)
    page, pictures = results.with_name(f"{results.name}.md"), results / PICTURES
    with TemporaryDirectory() as folder:
        gallery = _Gallery(Path(folder), f"{results.name}/{PICTURES}")
        text = _page(records, f"{results.name}/{RUNS}", gallery)
        new = {path.name: path.read_bytes() for path in gallery.folder.iterdir()}
    pictures.mkdir(exist_ok=True)
    for name, content in new.items():
        write_atomically(pictures / name, content)
    write_atomically(page, text.encode())
    for old in pictures.glob("*.png"):
        if old.name not in new:
            old.unlink()
    return page


def _page(records: Sequence[Record], runs: str, gallery: _Gallery) -> str:
    parts = [_HEAD.format(runs=runs, not_run=NOT_RUN), claims(records), quirks(records)]
    parts += _studies(records, gallery)
    parts += _curves(records, gallery)
    parts.append(_circumstances(records))
    return "\n".join(part for part in parts if part)


def _studies(records: Sequence[Record], gallery: _Gallery) -> list[str]:
    """Return a section for each study that was run, and draw its picture."""
    sections = []
    ours = sorted((r for r in records if r.study), key=_family)
    for (name, experiment), grouper in groupby(ours, key=_family):
        jobs = list(grouper)
        study = Study.of(jobs, _beside(jobs, records))
        study = replace(study, records=_sorted_by_settings(study.records))
        if name == "seeds":  # the one study that is run with any experiment
            study = replace(study, title=f"{study.title} of {experiment}")
        picture = f"{name}-{experiment}.png"
        study_plots.draw(gallery.folder / picture, study)
        table = _final_table(grouped(study.records)) if study.form == "table" else ""
        sections.append(
            f"## {study.heading}\n\n`python train.py study={name}"
            f"{f' experiment={experiment}' if name == 'seeds' else ''}`\n\n{table}"
            f"![{study.heading}]({gallery.link}/{picture})\n"
        )
    return sections


def _beside(jobs: Sequence[Record], records: Iterable[Record]) -> list[Record]:
    """Return other studies' runs of the settings compared, and of the unchanged recipe.

    A study whose jobs are shorter, or train another network, is not compared with the recipe.
    """
    compared = [job.changes for job in jobs]
    if not any({"trainer.epochs", "model.name"} & changes.keys() for changes in compared):
        compared.append({})
    backends = {job.backend for job in jobs}
    seen, found = {_settings(job) for job in jobs}, []
    for record in records:
        ours = record.experiment == jobs[0].experiment and record.backend in backends
        if ours and record.changes in compared and _settings(record) not in seen:
            seen.add(_settings(record))
            found.append(record)
    return found


def _settings(record: Record) -> tuple[str, str, int]:
    return repr(sorted(record.changes.items())), record.backend, record.seed


def _family(record: Record) -> tuple[str, str]:
    return record.study, record.experiment


def _sorted_by_settings(records: Sequence[Record]) -> list[Record]:
    keys = varied(records)

    def place(record: Record) -> tuple[list[tuple[float, str]], int]:
        values = [record.setting(key) for key in keys]
        numbers = [float(v) if isinstance(v, (int, float)) else 0.0 for v in values]
        return [(n, str(v)) for n, v in zip(numbers, values, strict=True)], record.seed

    return sorted(records, key=place)


def _final_table(groups: Sequence[Group]) -> str:
    keys = list(groups[0].values)
    head = [*map(short, keys), "test accuracy", "final training loss", "runs"]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for group in groups:
        cells = [show(group.values[key]) for key in keys]
        lasts = [record.last_epoch() for record in group.finished]
        if lasts:
            cells.append(spread([row["test_accuracy"] for row in lasts]).text(percent=True))
            cells.append(spread([row["train_loss"] for row in lasts]).text(digits=4))
        else:
            cells += ["diverged", "diverged"]
        cells.append(str(len(group.records)))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n"


def _curves(records: Sequence[Record], gallery: _Gallery) -> list[str]:
    """Draw one run of each unchanged recipe: by iteration where it was recorded, else by epoch."""
    sections = []
    runs = [record for record in records if not record.changes and record.table("metrics")]
    for experiment in sorted({record.experiment for record in runs}):
        ours = [record for record in runs if record.experiment == experiment]
        record = next((record for record in ours if record.table("steps")), ours[0])
        by_step, name = bool(record.table("steps")), f"curve-{experiment}.png"
        draw = study_plots.batch_curves if by_step else study_plots.epoch_curves
        draw(gallery.folder / name, record)
        unit = "iteration" if by_step else "epoch"
        sections.append(f"## {experiment} by {unit}\n\n![{name}]({gallery.link}/{name})\n")
    return sections


def _circumstances(records: Iterable[Record]) -> str:
    """Say on what the runs were made, when, and how long they took."""
    lines = []
    for record in records:
        summary = record.summary
        versions = summary["versions"]
        packages = ", ".join(f"{k} {versions[k]}" for k in ("numpy", "torch") if k in versions)
        device = summary["device"]
        threads = f"{summary['threads']} thread{'s' if summary['threads'] > 1 else ''}"
        lines.append(
            f"| {record.experiment} | {_changes(record)} | {record.backend} | {record.seed} "
            f"| {summary['seconds'] / 60:.1f} | {summary['date'][:10]} "
            f"| {summary['processor']}, {device}, {threads} | {packages} |"
        )
    if not lines:
        return ""
    head = "| experiment | changed | backend | seed | minutes | date | hardware | versions |"
    return f"## The runs\n\n{head}\n|{' --- |' * 8}\n" + "\n".join(lines) + "\n"


def _changes(record: Record) -> str:
    return ", ".join(f"{short(k)} {show(v)}" for k, v in record.changes.items()) or "nothing"
