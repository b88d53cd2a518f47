"""docs/results/studies.md, every study's table and picture, and runs.md, how each run was made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from studies import pictures
from studies.groups import Study, in_words, short, spread, table, varied
from studies.records import Record

_STUDIES = """# Studies

All studies that were run; `python -m studies` writes this page from the records in [runs](runs).
Runs that differ only in their seeds share a row: mean ± sample standard deviation of the finished
ones. The claims that they bear on are in [../{page}](../{page}).
"""

_RUNS = """# Runs

What each kept run changes in its recipe, and the hardware and versions that it used;
`python -m studies` writes this page from the records in [runs](runs).

"""


def studies(records: Sequence[Record], page: str, link: str, gallery: Path) -> str:
    """Return the page of studies, and draw their pictures.

    Args:
        records: the runs.
        page: the file of the claims, which it refers to.
        link: what it calls the folder of pictures.
        gallery: where they are drawn.
    """
    sections = [_STUDIES.format(page=page)]
    ours = sorted((r for r in records if r.study), key=_family)
    for (name, experiment), members in groupby(ours, key=_family):
        jobs = list(members)
        study = Study.of(jobs, _beside(jobs, records))
        study = replace(study, records=_sorted_by_settings(study.records))
        command = f"python train.py study={name}"
        if name == "seeds":  # the one study that is run with any experiment
            study = replace(study, title=f"{study.title} of {experiment}")
            command += f" experiment={experiment}"
        picture = f"{name}-{experiment}.png"
        pictures.draw(gallery / picture, study)
        table = _table(study) if study.form == "table" else ""
        sections.append(
            f"## {study.heading}\n\n`{command}`\n\n{table}![{study.heading}]({link}/{picture})\n"
        )
    return "\n".join(sections)


def runs(records: Iterable[Record]) -> str:
    """Return the page that says on what the runs were made, when, and how long they took."""
    rows = []
    for record in records:
        summary = record.summary
        versions, threads = summary["versions"], summary["threads"]
        threads = f"{threads} thread{'s' if threads > 1 else ''}"
        rows.append(
            [
                record.experiment,
                in_words(record.changes) or "nothing",
                record.backend,
                str(record.seed),
                f"{summary['seconds'] / 60:.1f}",
                summary["date"][:10],
                f"{summary['processor']}, {summary['device']}, {threads}",
                ", ".join(f"{k} {versions[k]}" for k in ("numpy", "torch") if k in versions),
            ]
        )
    head = "experiment", "changed", "backend", "seed", "minutes", "date", "hardware", "versions"
    return _RUNS + table(head, rows)


def _table(study: Study) -> str:
    groups = study.groups
    rows = []
    for group in groups:
        figures = ["diverged"] * 2
        if group.finished:
            figures = [
                spread(group.finals("test_accuracy")).text(percent=True),
                spread(group.finals("train_loss")).text(digits=4),
            ]
        rows.append([*group.settings(), *figures, str(len(group.records))])
    head = [*map(short, groups[0].values), "test accuracy", "final training loss", "runs"]
    return table(head, rows) + "\n"


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
