"""Keeping the record of a finished run under docs/results: small files, no weights."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from zlib import crc32

from studies.records import TABLES, Record, find, read
from training.errors import ConfigError
from training.storage.files import copy, write_atomically

RUNS = "runs"
LONGEST = 100  # characters of a folder's name
_SHOWN = ("device", "threads", "seconds", "date", "processor", "versions")
_PRIVATE = ("dataset_source",)  # where the images lie on the machine of the run


def collect(directories: Iterable[Path], target: Path) -> list[Path]:
    """Copy the records of runs, or of every job of sweeps, to target; return their folders.

    A record that is there already, of the same recipe, changes, backend and seed, is replaced.
    Nothing is copied if docs/results.md cannot show one of the runs: not of an experiment, not on
    MNIST, not at its end, or damaged.
    """
    records = [record for directory in directories for record in find(directory)]
    for record in records:
        _check(record)
    return [_keep(record, target) for record in records]


def kept(target: Path) -> list[Record]:
    """Return the records under target, in the order of their folders' names."""
    if not target.is_dir():
        raise ConfigError(
            f"there is no folder {target} of records: name one with --results, or keep runs in it "
            "with --collect"
        )
    records = [read(path.parent) for path in sorted(target.rglob("record.json"))]
    for record in records:
        _check(record)
    return records


def _check(record: Record) -> None:
    if not record.experiment:
        raise ConfigError(f"{record.directory} is not a run of an experiment: use experiment=...")
    if record.status not in ("finished", "diverged"):
        raise ConfigError(
            f"{record.directory} is {record.status}: resume it (resume=...) before its record "
            "is kept"
        )
    if record.dataset != "mnist":
        raise ConfigError(
            f"{record.directory} is a run on {record.dataset}: the reports' claims are about MNIST"
        )
    lacking = [name for name in _SHOWN if name not in record.summary]
    if lacking:
        raise ConfigError(f"{record.directory / 'summary.json'} lacks {', '.join(lacking)}")
    for name in TABLES:
        record.table(name)
    if record.status == "finished":
        record.last_epoch()


def _is_recipe(record: Record) -> bool:
    return not record.changes and record.study in ("", "seeds")


def _keep(record: Record, target: Path) -> Path:
    changes = ",".join(f"{key}={value}" for key, value in record.changes.items())
    variant = re.sub(r"[^A-Za-z0-9_.,=-]+", "_", changes) or "recipe"
    if len(variant) > LONGEST:  # cut short, two variants must not become one
        variant = f"{variant[: LONGEST - 9]}-{crc32(changes.encode()):08x}"
    study = record.study or "single"
    folder = target / record.experiment / study / variant / f"{record.backend}-seed{record.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        source, table = record.directory / f"{name}.csv", folder / f"{name}.csv"
        # The table by steps is the largest, and only an unchanged recipe's is shown.
        if source.exists() and (name != "steps" or _is_recipe(record)):
            copy(source, table)
        else:
            table.unlink(missing_ok=True)
    summary = {key: value for key, value in record.summary.items() if key not in _PRIVATE}
    if summary["reason"]:
        summary["reason"] = summary["reason"].partition(";")[0]  # after it: folders and commands
    names = ("experiment", "study", "changes", "config")
    document: dict[str, Any] = {name: getattr(record, name) for name in names}
    document["config"] = {
        **document["config"],
        "data": {**document["config"]["data"], "root": None},
    }
    for name, content in (("summary.json", summary), ("record.json", document)):
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        write_atomically(folder / name, text.encode())
    return folder
