"""The jobs of a sweep trained together, as far as they differ in what many networks may differ in.

Each job is an ordinary `Run` with a folder of its own. All runs of a group are taken from pause to
pause in turn: at each, all have asked for the same steps, which are then taken for all at once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from training import console, failures, resume, signals
from training.config import Config, TorchBackendConfig
from training.config_check import check
from training.data import Dataset
from training.errors import ConfigError, StoppedError
from training.loop import Progress, Rounds, Row, quiet_overflow
from training.pictures import Draw, side_by_side
from training.run import Run, heading, load, run, with_epochs

if TYPE_CHECKING:
    from training.torch_backend.many import ManyNetworks

LAUNCHER = "hydra_plugins.lenet_twins.TogetherLauncher"
FAILED = float("nan")


@dataclass(frozen=True, eq=False)
class Job:
    """A configuration and the folder of its results."""

    config: Config
    directory: Path

    @classmethod
    def of(cls, composed: DictConfig, directory: Path) -> Job:
        """Return the job of a composed configuration."""
        return cls(check(composed), directory)

    def kind(self) -> str:
        """Return what jobs have in common that can be trained together."""
        tree = asdict(self.config)
        del tree["seed"], tree["init"], tree["optimizer"]["lr"]
        return json.dumps(tree, sort_keys=True)


def check_backends(configs: Sequence[Config]) -> None:
    """Refuse jobs that cannot be trained together with any other.

    Raises:
        ConfigError: if one is not torch's, or is to be compiled.
    """
    for config in configs:
        if not isinstance(config.backend, TorchBackendConfig):
            raise ConfigError(
                "hydra/launcher=together trains with torch, not with backend="
                f"{config.backend.name}: add backend=torch, or leave the launcher out"
            )
        if config.backend.compile:
            raise ConfigError(
                "backend.compile=true cannot be used with hydra/launcher=together: leave one of "
                "them out"
            )


def train(jobs: Sequence[Job]) -> list[float]:
    """Train all jobs; return their test accuracies, NaN for those that failed.

    What went wrong with a job is noted in `failures`; the others go on.

    Raises:
        StoppedError: after SIGINT or SIGTERM; everything is then saved.
    """
    kinds: dict[str, list[Job]] = {}
    for job in jobs:
        kinds.setdefault(job.kind(), []).append(job)
    accuracies: dict[Job, float] = {}
    left = len(jobs)
    for alike in kinds.values():
        left -= len(alike)
        try:
            if len(alike) == 1:
                accuracies[alike[0]] = run(alike[0].config, alike[0].directory)
            else:
                accuracies |= _train_alike(alike)
        except StoppedError:
            failures.tell_not_started(left)
            raise
        except Exception as error:
            for job in alike:
                failures.note(job.directory, error, sweep=True)
    return [accuracies.get(job, FAILED) for job in jobs]


def _train_alike(jobs: Sequence[Job]) -> dict[Job, float]:
    from training.torch_backend.many import ManyNetworks

    dataset = load(jobs[0].config)
    networks = ManyNetworks([job.config for job in jobs])
    networks.place(dataset)
    with quiet_overflow(), signals.listen() as stop, side_by_side(len(jobs), dataset) as draw:
        return _Lockstep(jobs, networks, dataset, stop, draw).train()


class _Lockstep:
    """Runs that take their steps together.

    Args:
        jobs: at least two.
        networks: theirs, which have the dataset's images.
        dataset: with the labels.
        stop: tells of a signal.
        draw: makes the pictures.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        networks: ManyNetworks,
        dataset: Dataset,
        stop: signals.StopRequest,
        draw: Draw,
    ) -> None:
        self._networks, self._stop, self._screen = networks, stop, console.Screen()
        config, chosen = with_epochs(jobs[0].config, dataset)
        self._epochs = config.trainer.epochs or 0
        self._heading = heading(config, networks.members[0], chosen, f"{len(jobs)} runs together")
        notes = [f"trained together with {len(jobs) - 1} others, whose time its seconds include"]
        self._live: dict[Job, Rounds[float]] = {}
        for job, member in zip(jobs, networks.members, strict=True):
            place, silence = job.directory, console.Silence()
            each = Run(job.config, member, dataset, place, stop, silence, notes, draw)
            self._live[job] = each.rounds()
        self._progress: dict[Job, Progress] = {}
        self._accuracies: dict[Job, float] = {}
        self._stopped: list[Job] = []

    def train(self) -> dict[Job, float]:
        """Take all runs to their ends; return the test accuracies of those that came there.

        Raises:
            StoppedError: after a signal.
        """
        self._screen.say(self._heading)
        outlook = console.Outlook(self._epochs, 0)
        self._resume()
        while self._live:
            epoch = self._now.epoch
            label = f"epoch {epoch + 1}/{self._epochs}"
            with self._screen.bar(label, self._networks.steps, 0) as advance:
                while self._live and self._now.epoch == epoch:
                    advance(self._now.step)
                    self._advance()
            rows = self._rows(epoch + 1)
            if rows:
                self._screen.say(outlook.line_of_many(rows))
        if self._stopped:
            first = resume.command(self._stopped[0].directory, self._stopped[0].config)
            raise StoppedError(
                f"{len(self._stopped)} runs stopped by {self._stop.name}, all saved; go on with "
                f"each by itself, the first with: {first}",
                self._stop.number or 0,
            )
        return self._accuracies

    @property
    def _now(self) -> Progress:
        """Return where the runs stand, or stood when the last ended."""
        return self._progress[next(iter(self._live or self._progress))]

    def _rows(self, epoch: int) -> list[Row]:
        """Return an epoch's rows, of the runs that have completed it."""
        return [p.rows[epoch - 1] for p in self._progress.values() if p.epoch >= epoch]

    def _advance(self) -> None:
        """Have the steps taken that all runs have asked for, and take the runs to their next."""
        started = perf_counter()
        try:
            self._networks.advance()
        except Exception as error:
            self._resume(error=error)
        else:
            self._resume(perf_counter() - started)

    def _resume(self, seconds: float | None = None, error: Exception | None = None) -> None:
        for job, rounds in list(self._live.items()):
            try:
                self._progress[job] = rounds.throw(error) if error else rounds.send(seconds)
                continue
            except StopIteration as end:
                self._accuracies[job] = end.value
            except StoppedError:
                self._stopped.append(job)
            except Exception as failure:
                failures.note(job.directory, failure, sweep=True)
            del self._live[job]
