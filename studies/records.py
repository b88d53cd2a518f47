"""What finished runs left behind, read for comparison: from their own folders or from docs/results.

A run is known by its experiment and by its *changes*: the settings in which its configuration
differs from the experiment's recipe, apart from the seed, the backend and what only decides where
and how a run is carried out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from training.config.composition import configuration
from training.config.settings import NEUTRAL, covered, flatten
from training.errors import ConfigError
from training.storage.tables import TABLES, read_table

Table = list[dict[str, float]]


@dataclass(frozen=True)
class Record:
    """One run."""

    directory: Path  # where it was read from
    experiment: str  # the name of its recipe; "" for the defaults
    study: str  # the name of the study it was a job of; "" for none
    changes: dict[str, Any]  # dotted names and values of the settings that differ from the recipe
    config: dict[str, Any]  # the whole configuration, nested
    summary: dict[str, Any]  # what summary.json holds; empty where the run failed before

    @property
    def seed(self) -> int:
        """Return the seed."""
        return int(self.config["seed"])

    @property
    def backend(self) -> str:
        """Return "torch" or "numpy"."""
        return str(self.config["backend"]["name"])

    @property
    def status(self) -> str:
        """Return "finished", "diverged", "interrupted" or "failed"."""
        return str(self.summary.get("status", "failed"))

    @property
    def dataset(self) -> str:
        """Return "mnist" or "digits"; "" for a failed run."""
        return str(self.summary.get("dataset", ""))

    def setting(self, key: str) -> Any:
        """Return a setting by its dotted name; None where the configuration has none."""
        return flatten(self.config).get(key)

    def table(self, name: str) -> Table:
        """Return the rows of metrics, steps or evaluations; [] where there is no such file."""
        path = self.directory / f"{name}.csv"
        try:
            rows = read_table(path, TABLES[name]) if path.exists() else []
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from error
        except ValueError as error:
            raise ConfigError(str(error)) from error
        if name != "metrics":
            return rows
        epochs = self.summary.get("epochs", len(rows)) if self.status == "finished" else len(rows)
        if not isinstance(epochs, int):
            raise ConfigError(f"{path.with_name('summary.json')} is damaged: epochs is no number")
        rows = rows[:epochs]  # more are those of a run that is being trained longer
        if [row["epoch"] for row in rows] != [*range(1, len(rows) + 1)] or len(rows) < epochs:
            raise ConfigError(f"{path} is damaged: its rows are not the epochs 1 to {epochs}")
        return rows

    def last_epoch(self) -> dict[str, float]:
        """Return the last row of metrics, of which there must be one."""
        rows = self.table("metrics")
        if not rows:
            raise ConfigError(f"{self.directory / 'metrics.csv'} holds no epoch")
        return rows[-1]


def read(directory: Path) -> Record:
    """Read one run."""
    try:
        summary_file = directory / "summary.json"
        summary = json.loads(summary_file.read_text()) if summary_file.exists() else {}
        if (directory / "record.json").exists():
            kept = json.loads((directory / "record.json").read_text())
            return Record(directory, summary=summary, **kept)
        hydra = yaml.safe_load((directory / ".hydra" / "hydra.yaml").read_text("utf-8"))
        choices = hydra["hydra"]["runtime"]["choices"]
        resolved = directory / "config.yaml"
        chosen = resolved if resolved.exists() else directory / ".hydra" / "config.yaml"
        config = yaml.safe_load(chosen.read_text("utf-8"))
        experiment, study = (str(choices.get(name) or "") for name in ("experiment", "study"))
        changes = differences(recipe(experiment), config)
    except ConfigError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise ConfigError(f"{directory} is not the folder of a run: {error}") from error
    return Record(directory, experiment, study, changes, config, summary)


def find(directory: Path) -> list[Record]:
    """Return the runs in a folder: itself, or the jobs of a sweep in their order."""
    if _is_run(directory):
        return [read(directory)]
    folders = [path for path in directory.iterdir() if _is_run(path)] if directory.is_dir() else []
    if not folders:
        raise ConfigError(f"{directory} holds no run: give the folder of a run or of a sweep")
    return [read(path) for path in sorted(folders, key=_job_number)]


@lru_cache(maxsize=32)
def recipe(experiment: str) -> Mapping[str, Any]:
    """Return an experiment's settings by their dotted names; "" stands for the defaults."""
    return flatten(asdict(configuration(*[f"experiment={experiment}"] if experiment else [])))


def differences(basis: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of config whose values differ from the basis.

    A setting that config lacks did not exist when it ran, and a group without any has none. The
    number of epochs is filled in by the run where the recipe leaves it to the data, and is then no
    change.
    """
    changed = {}
    settings = {key: value for key, value in flatten(config).items() if value != {}}
    for key, value in settings.items():
        same = basis.get(key) == value or (key == "trainer.epochs" and basis.get(key) is None)
        if not same and not covered(key, NEUTRAL):
            changed[key] = value
    return changed


def _is_run(directory: Path) -> bool:
    marks = (directory / ".hydra" / "overrides.yaml", directory / "record.json")
    return any(mark.exists() for mark in marks)


def _job_number(directory: Path) -> tuple[int, str]:
    number = directory.name.partition("_")[0]
    return (int(number) if number.isdigit() else 0, directory.name)
