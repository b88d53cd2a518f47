"""What is kept of a run, where it stands, and the sentences with which it may end early.

Every rank has the same record; rank 0 alone writes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from signal import SIGTERM
from time import perf_counter

from training.backends.protocol import Backend
from training.backends.ranks import Ranks
from training.config.schema import Config
from training.data import Dataset
from training.errors import (
    ConfigError,
    DivergenceError,
    OutputError,
    ProcessError,
    StoppedError,
    cannot_write,
)
from training.storage.checkpoint import MAX_HEADER_BYTES, NAME, check_size, not_finite
from training.storage.tables import Mark, Row
from training.trainer import artefacts, resume, signals
from training.trainer.console import Console
from training.trainer.evaluation import Scores
from training.trainer.progress import Progress
from training.trainer.saved_run import Provenance, SavedRun, clean_up, describe, newest_run


class RunRecord:
    """A run's progress, and its folder.

    Args:
        config: the run's, with its number of epochs.
        backend: which has the dataset's images.
        dataset: with the labels.
        ranks: those that share the run.
        directory: its folder, which rank 0 holds.
        console: where the run reports.

    Attributes:
        progress: where the run stands.
        notes: what has happened to it that a reader of its record has to know.
        marks: what its tables were when it was saved.
        saved: whether the folder holds a checkpoint of it.
    """

    def __init__(
        self,
        config: Config,
        backend: Backend,
        dataset: Dataset,
        ranks: Ranks,
        directory: Path,
        console: Console,
    ) -> None:
        assert config.trainer.epochs is not None
        self.config, self.backend, self.dataset = config, backend, dataset
        self.epochs: int = config.trainer.epochs
        self.ranks, self.directory, self.console = ranks, directory, console
        self.progress = Progress()
        self.notes: list[str] = []
        self.marks: dict[str, Mark] = {}
        self.saved = False
        self.writes = ranks.rank == 0
        self._started, self._seconds_before = perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        """Return the time that the run has taken so far, earlier processes' included."""
        return self._seconds_before + perf_counter() - self._started

    def restore(self) -> None:
        """Go on from the folder's newest good checkpoint.

        Raises:
            ConfigError: if it does not fit this configuration; nothing has then been written.
        """
        saved, passed_over = newest_run(self.directory, self.ranks)
        words, anew = saved.load_into(self.config, self.dataset, self.backend)
        self.progress, self._seconds_before = saved.progress, saved.seconds
        self.notes, self.marks = list(saved.notes), saved.marks
        if self.writes:
            clean_up(self.directory, passed_over)
        self.saved = True
        if words:
            again = f"; epoch {self.progress.epoch + 1} restarts" if anew else ""
            self.say(f"resumed with changes: {words}{again}")
        if passed_over:
            self.say(f"{passed_over}: resuming from the previous checkpoint")
        self.say(f"resumed {self.progress.where(self.epochs)}")
        now = Provenance.of(self.backend, self.ranks)
        if saved.maker != now:
            self.say(saved.maker.followed_by(now, self.config))

    def begin(self) -> None:
        """Write the run's settings into its folder.

        Raises:
            ConfigError: if its checkpoints would be too large to be read.
        """
        rows = self.epochs * len(Row.columns()) * 8
        try:
            check_size(self.backend.state_bytes() + rows + MAX_HEADER_BYTES, self.directory / NAME)
        except OSError as error:
            raise ConfigError(
                f"the run could not be resumed from its checkpoint: {error.strerror}; use a "
                "smaller network, or fewer epochs"
            ) from error
        if self.writes:
            artefacts.save_config(self.directory, self.config)

    def save(self, marks: dict[str, Mark]) -> bool:
        """Write a checkpoint, unless a number of the state is not finite; return whether it is.

        Raises:
            OSError: if it cannot be written; the one before is then still there.
        """
        state = self.backend.state()
        if not_finite(state):
            return False
        if self.writes:
            config, dataset = resume.record_of(self.config), describe(self.dataset)
            provenance = Provenance.of(self.backend, self.ranks)
            parts = config, dataset, provenance, self.seconds, self.notes, marks
            SavedRun(state, self.progress, *parts).save(self.directory / NAME)
        self.saved = True
        return True

    def finish(self, scores: Scores) -> None:
        """Leave weights, pictures and the summary of a finished run in its folder."""
        if not self.writes:
            return
        artefacts.save_weights(self.directory, self.backend.weights(), self.config)
        parts = self.config, self.backend.name, self.dataset, self.progress.rows, scores
        artefacts.draw(self.directory, *parts)
        self._summarise("finished")
        accuracy, images = f"{scores.accuracy * 100:.2f} %", len(self.dataset.test_labels)
        kind = "validation" if self.config.data.validation else "test"
        self.console.say(
            f"{kind} accuracy {accuracy} ({self.dataset.name}, {images} images)\n{self.directory}"
        )

    @contextmanager
    def accounted(self) -> Iterator[None]:
        """Give whatever ends the run early its remedy, and the folder a summary that says so."""
        try:
            yield
        except ProcessError as error:
            reason = f"{error}; {self._remedy()}"
            self._summarise("interrupted", reason)
            raise ProcessError(reason) from error
        except StoppedError as error:
            self._summarise("interrupted", str(error))
            raise
        except DivergenceError as error:
            self._summarise("diverged", str(error))
            raise
        except OSError as error:
            message = cannot_write(error, self.directory)
            if message is None:
                raise
            raise OutputError(f"{message}; {self._remedy()}") from error

    def say(self, note: str) -> None:
        """Print a line that a reader of the run's record has to know, too."""
        self.notes.append(note)
        self.console.say(note)

    def stopped(self, stop: signals.StopRequest) -> StoppedError:
        """Return what tells of the signal; a rank that got none follows the one that did."""
        where = self.progress.where(self.epochs)
        stopped = f"stopped by {stop.name} {where}, all saved"
        command = resume.command(self.directory, self.config)
        return StoppedError(stopped, stop.number or SIGTERM, command)

    def diverged(self, first: int) -> DivergenceError:
        """Return what tells that the loss is not finite since a step of the epoch under way."""
        last, lr = self.progress.step, self.backend.lr
        steps = f"step {last}" if first == last else f"steps {first} to {last}"
        remedy = "no checkpoint was saved before it: run it again with a smaller optimizer.lr"
        if self.saved:
            command = resume.command(self.directory, self.config)
            remedy = (
                f"the last good checkpoint is {self.directory / NAME}: resume from it with "
                f"{command} resume_override=true optimizer.lr=..."
            )
        return DivergenceError(
            f"the loss is no longer finite in epoch {self.progress.epoch + 1}, {steps}, "
            f"at learning rate {lr:.3g}; {remedy}"
        )

    def _remedy(self) -> str:
        if not self.saved:
            return "nothing had been saved yet"
        command = resume.command(self.directory, self.config)
        return f"the last checkpoint is good; resume with: {command}"

    def _summarise(self, status: str, reason: str = "") -> None:
        """Write summary.json; where even that cannot be written, what ended the run is told."""
        if not self.writes:
            return
        summary = artefacts.Summary.of(
            self.config, self.backend, self.dataset, self.progress.rows, self.notes, self.seconds
        )
        with nullcontext() if status == "finished" else suppress(OSError):
            replace(summary, status=status, reason=reason).save(self.directory)
