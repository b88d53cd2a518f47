"""A run as its checkpoint holds it, and what becomes of it where the run goes on otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from training.backends.protocol import Backend, State
from training.backends.ranks import Ranks
from training.config.schema import Config
from training.config.settings import covered
from training.data import Dataset
from training.errors import ConfigError
from training.storage.checkpoint import NAME, newest, parse
from training.trainer import resume
from training.trainer.plan import plan_epoch
from training.trainer.progress import Progress

#: An epoch under way is one pass in an order drawn from these: with others it begins anew.
EPOCH = ("seed", "data", "dataset", "trainer.batch_size", "trainer.steps_per_epoch")
#: The schedule multiplies step by step; this much, relatively, that may round in 10⁸ epochs.
RATE_ROUNDING = 1e-7
#: What the learning rate follows from.
LEARNING_RATE = ("optimizer.lr", "scheduler")


@dataclass(frozen=True)
class Provenance:
    """What computes a run; another one rounds differently."""

    backend: str
    device: str
    threads: int
    processes: int

    @classmethod
    def of(cls, backend: Backend, ranks: Ranks) -> Provenance:
        """Return what computes on these ranks."""
        return cls(backend.name, backend.device, backend.threads, ranks.world)

    def __str__(self) -> str:
        cores = [f"{self.processes} processes"] if self.processes > 1 else []
        if not cores or self.backend != "numpy":  # whose processes have one thread each
            cores.append(f"{self.threads} thread{'' if self.threads == 1 else 's'}")
        return f"{self.backend} ({', '.join([self.device, *cores])})"


class SavedRun(NamedTuple):
    """A run as its checkpoint holds it: the backend's state, where it stands, and its record."""

    state: State
    progress: Progress
    record: dict[str, Any]

    def load_into(self, config: Config, dataset: Dataset, backend: Backend) -> tuple[str, bool]:
        """Have the backend go on from here, or raise ConfigError if the run does not fit.

        Returns the changed settings in words, and whether the epoch under way begins anew.
        """
        try:
            changes = resume.check_unchanged(self.record, config, describe(dataset))
            stood = self.progress.step
            self._adapt(config, changes)
            plan = plan_epoch(config, len(dataset.train_labels), self.progress.epoch)
            if self.progress.step > plan.steps:
                raise ValueError(f"it is at step {self.progress.step} of {plan.steps}")
            self.progress.check_images(int(plan.offsets[self.progress.step]))
            self.progress.forget_after(plan.first_step + self.progress.step)
            backend.load_state(self.state)
            if int(self.state["scheduler.last_epoch"]) != self.progress.epoch:
                raise ValueError("its schedule and its run are at different epochs")
        except ValueError as error:
            raise ConfigError(f"resume={config.resume}: {error}") from error
        return ", ".join(changes.values()), self.progress.step < stood

    def _adapt(self, config: Config, changes: Iterable[str]) -> None:
        """Make changed settings take effect from here on."""
        schedule = config.scheduler
        falls = self.progress.epoch // schedule.step_size if schedule.step_size else 0
        rate = config.optimizer.lr * float(np.float64(schedule.gamma) ** falls)
        if any(covered(key, LEARNING_RATE) for key in changes):
            self.state["optimizer.lr"] = np.asarray(rate)
        elif not np.allclose(
            self.state.get("optimizer.lr", rate), rate, rtol=RATE_ROUNDING, atol=1e-300
        ):
            raise ValueError(f"its learning rate is not the {rate:.3g} of its settings")
        if any(covered(key, EPOCH) for key in changes):
            self.progress.begin_epoch()


def newest_run(directory: Path, ranks: Ranks) -> tuple[SavedRun, str | None]:
    """Return a folder's newest good run, and why the checkpoint before it was passed over, if so.

    Rank 0 reads the file; the others, which may be on machines without it, get its bytes. Raises
    ConfigError if there is none.
    """
    try:
        passed_over, content = None, b""
        if ranks.rank == 0:
            checkpoint, passed_over = newest(directory)
            content = checkpoint.content
        content = ranks.broadcast_bytes(content)
        if ranks.rank > 0:
            checkpoint = parse(content, directory / NAME)
        state, record = checkpoint.state, checkpoint.record
        resume.check_record(directory / NAME, record)
        progress = Progress.from_record(record["progress"], state)
    except ValueError as error:  # CheckpointError is one
        raise ConfigError(f"resume={directory}: {error}") from error
    state = {name: a for name, a in state.items() if not name.startswith("progress.")}
    return SavedRun(state, progress, record), passed_over


def describe(dataset: Dataset) -> dict[str, Any]:
    """Return what tells a run's data from others."""
    return {"name": dataset.name, "train_images": len(dataset.train_labels)}
