"""Jobs, each a checked configuration and its folder, and what a command line asks for: a few."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write

from training.config.composition import Composer
from training.config.schema import Config
from training.config.settings import LOCAL, flatten
from training.errors import ConfigError


@dataclass(frozen=True)
class Job:
    """One run."""

    config: Config
    composed: DictConfig  # for the run's record, as is Hydra's part of it
    hydra: DictConfig
    directory: Path  # where its results are wanted; in a sweep, inside the sweep's folder
    done: bool = False  # whether it has been run, and has all its results

    @property
    def begin(self) -> Callable[[Path], None] | None:
        """Return what writes Hydra's record of a new run's settings to its folder."""
        return self._record if self.config.resume is None else None

    def _record(self, directory: Path) -> None:
        hydra = self.hydra.hydra
        with read_write(hydra):
            hydra.runtime.output_dir = str(directory)
        if hydra.output_subdir is not None:
            record = directory / str(hydra.output_subdir)
            record.mkdir(parents=True, exist_ok=True)
            OmegaConf.save(self.composed, record / "config.yaml")
            OmegaConf.save(self.hydra, record / "hydra.yaml")
            OmegaConf.save(hydra.overrides.task, record / "overrides.yaml")


@dataclass(frozen=True)
class Request:
    """What a command line asks for: at least one job."""

    jobs: list[Job]
    sweep: bool
    directory: Path  # of the run or the sweep
    resumes: bool = False  # whether it is one to go on with
    notes: tuple[str, ...] = ()  # what the command line does to recipes

    @property
    def hydra(self) -> DictConfig:
        """Return Hydra's settings, the same for all jobs."""
        return self.jobs[0].hydra.hydra

    @property
    def launcher(self) -> str:
        """Return what runs a sweep's jobs: "basic" (one after another), "joblib", "slurm", ..."""
        return str(self.hydra.launcher._target_).rpartition(".")[2].removesuffix("Launcher").lower()

    @property
    def here(self) -> bool:
        """Return whether the jobs are run by this program, and not by a launcher of Hydra's."""
        return not self.sweep or self.launcher in ("basic", "joblib")

    @property
    def numbered(self) -> bool:
        """Return whether the folder is named by the time, and may be another one with a number."""
        node = self.hydra.sweep if self.sweep else self.hydra.run
        return "${now:" in str(OmegaConf.to_container(node)["dir"])  # type: ignore[index, call-overload]

    @cached_property
    def _varied(self) -> list[str]:
        """The settings that all jobs have and that differ between them."""
        first, *others = [flatten(asdict(job.config)) for job in self.jobs]
        return [
            key
            for key, value in first.items()
            if all(key in other for other in others) and key not in LOCAL
            if any(other[key] != value for other in others)
        ]

    def varied(self, job: Job) -> str:
        """Return the settings of one of the jobs in which it differs from another."""
        settings = flatten(asdict(job.config))
        return " ".join(f"{key.removesuffix('.name')}={settings[key]}" for key in self._varied)


def make_job(
    opened: Composer,
    composed: DictConfig,
    number: int | None = None,
    directory: Path | None = None,
    done: bool = False,
) -> Job:
    """Check a composition; return it as a job, in a sweep with its number."""
    with read_write(composed.hydra):
        composed.hydra.mode = RunMode.RUN if number is None else RunMode.MULTIRUN
        if number is not None:
            composed.hydra.job.num, composed.hydra.job.id = number, str(number)
    HydraConfig.instance().set_config(composed)
    key = "run.dir" if number is None else "sweep.subdir"
    place = directory or folder(OmegaConf.select(composed.hydra, key), f"hydra.{key}")
    hydra = HydraConfig.instance().cfg
    assert isinstance(hydra, DictConfig)
    return Job(opened.check(composed), composed, hydra, place, done)


def folder(value: object, setting: str) -> Path:
    """Return the folder that a setting names, in characters that a command line can have."""
    text = str(value).strip()
    if not text:
        raise ConfigError(f"{setting} is empty: give a folder, or leave the setting out")
    if not text.isprintable() or "${" in text:
        raise ConfigError(f"{setting} must be a folder's name in printable characters, not {text}")
    return Path(text)


def is_inside(directory: Path) -> bool:
    """Return whether a job's folder lies inside its sweep's."""
    return not directory.is_absolute() and ".." not in directory.parts
