"""What is kept of a run, where it stands, and the sentences with which it may end early.

Every rank has the same record; rank 0 alone writes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGTERM
from time import perf_counter

import numpy as np
from omegaconf import OmegaConf

from training import environment
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
from training.storage.checkpoint import (
    MAX_BYTES,
    MAX_HEADER_BYTES,
    NAME,
    save_checkpoint,
    set_aside,
)
from training.storage.files import remove_leftovers, write_atomically
from training.storage.run_folder import FAILURE, SUMMARY
from training.storage.tables import TABLES
from training.storage.weights import save_weights
from training.trainer import resume, signals
from training.trainer.console import Console
from training.trainer.evaluation import Scores
from training.trainer.plan import plan_epoch
from training.trainer.progress import Progress
from training.trainer.saved_run import Provenance, describe, newest_run


class RunRecord:
    """A run's progress, and its folder."""

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
        self.notes: list[str] = []  # what a reader of the record has to know
        self.saved = False  # whether the folder holds a checkpoint
        self.writes = ranks.rank == 0
        self._started, self._seconds_before = perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        """Return the time that the run has taken so far, earlier processes' included."""
        return self._seconds_before + perf_counter() - self._started

    def restore(self) -> None:
        """Go on from the folder's newest good checkpoint.

        Raises ConfigError if it does not fit this configuration; nothing has then been written.
        """
        saved, passed_over = newest_run(self.directory, self.ranks)
        words, anew = saved.load_into(self.config, self.dataset, self.backend)
        self.progress, self._seconds_before = saved.progress, saved.record["seconds"]
        self.notes = list(saved.record["notes"])
        if self.writes:
            remove_leftovers(self.directory)  # of a process that was killed
            if passed_over:
                set_aside(self.directory / NAME)
        self.saved = True
        if words:
            again = f"; epoch {self.progress.epoch + 1} restarts" if anew else ""
            self.say(f"resumed with changes: {words}{again}")
        if passed_over:
            self.say(f"{passed_over}: resuming from the previous checkpoint")
        self.say(f"resumed {self.progress.where(self.epochs)}")
        before = Provenance(**saved.record["maker"])
        if before != (now := Provenance.of(self.backend, self.ranks)):
            same = "the same up to rounding, not bit for bit"
            self.say(f"saved on {before}, resumed on {now}: {same}")

    def begin(self) -> None:
        """Write the run's settings, without those of its resumption, into its folder.

        Raises ConfigError if its checkpoints would be too large to be read.
        """
        trainer, rows = self.config.trainer, {"metrics": self.epochs}
        if trainer.evaluation_samples:
            rows["evaluations"] = self.epochs + 1
        if trainer.log_every:
            steps = plan_epoch(self.config, len(self.dataset.train_labels), 0).steps
            rows["steps"] = self.epochs * (steps // trainer.log_every + 1)
        tables = sum(8 * count * len(TABLES[name]) for name, count in rows.items())
        size = self.backend.state_bytes() + tables + MAX_HEADER_BYTES
        if size > MAX_BYTES:
            raise ConfigError(
                f"the run could not be resumed from its checkpoint: it would have {size:,} bytes, "
                f"more than the limit of {MAX_BYTES:,}; use a smaller network, or fewer epochs"
            )
        if self.writes:
            own = replace(self.config, resume=None, resume_override=False)
            text = OmegaConf.to_yaml(OmegaConf.structured(own))
            write_atomically(self.directory / "config.yaml", text.encode())
            (self.directory / FAILURE).unlink(missing_ok=True)

    def save(self) -> None:
        """Write a checkpoint, or raise DivergenceError if a number of the state is not finite."""
        state = self.backend.state()
        if not all(np.isfinite(array).all() for array in state.values()):
            raise self._divergence(f"the state is not finite {self.progress.where(self.epochs)},")
        if self.writes:
            record = {
                "format": resume.FORMAT,
                "config": resume.record_of(self.config),
                "dataset": describe(self.dataset),
                "maker": asdict(Provenance.of(self.backend, self.ranks)),
                "progress": self.progress.to_record(),
                "seconds": self.seconds,
                "notes": self.notes,
            }
            save_checkpoint(self.directory / NAME, {**state, **self.progress.tables()}, record)
        self.saved = True

    def finish(self, scores: Scores) -> None:
        """Leave weights, pictures and the summary of a finished run in its folder."""
        if not self.writes:
            return
        from training.trainer import pictures  # matplotlib is slow to import

        config, model, data = self.config, self.config.model, self.dataset
        metadata = {"model": model.name, "arguments": json.dumps(model.arguments)}
        metadata |= {"image_size": str(model.image_size), "scaling": config.data.scaling}
        save_weights(self.directory / "weights.safetensors", self.backend.weights(), metadata)
        label = f"{model.name} on {self.backend.name}, {data.name}, seed {config.seed}"
        pictures.draw(self.directory, self.progress.metrics, scores, data, label)
        self._summarise("finished")
        kind = "validation" if config.data.validation else "test"
        accuracy, images = f"{scores.accuracy * 100:.2f} %", len(data.test_labels)
        self.console.say(
            f"{kind} accuracy {accuracy} ({data.name}, {images} images)\n{self.directory}"
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
        what = f"stopped by {stop.name} {self.progress.where(self.epochs)}, all saved"
        return StoppedError(what, stop.number or SIGTERM, self._command())

    def diverged(self, first: int) -> DivergenceError:
        """Return what tells that the loss is not finite since a step of the epoch under way."""
        last = self.progress.step
        steps = f"step {last}" if first == last else f"steps {first} to {last}"
        where = f"in epoch {self.progress.epoch + 1}, {steps},"
        return self._divergence(f"the loss is no longer finite {where}")

    def _divergence(self, what: str) -> DivergenceError:
        remedy = "no checkpoint was saved before it: run it again with a smaller optimizer.lr"
        if self.saved:
            remedy = (
                f"the last good checkpoint is {self.directory / NAME}: resume from it with "
                f"{self._command()} resume_override=true optimizer.lr=..."
            )
        return DivergenceError(f"{what} at learning rate {self.backend.lr:.3g}; {remedy}")

    def _remedy(self) -> str:
        if not self.saved:
            return "nothing had been saved yet"
        return f"the last checkpoint is good; resume with: {self._command()}"

    def _command(self) -> str:
        return resume.command(self.directory, self.config)

    def _summarise(self, status: str, reason: str = "") -> None:
        """Write summary.json; accuracy is a share (0 to 1), times are in seconds.

        The figures are those of the last completed epoch, and null before there is one. Where even
        this file cannot be written, what ended the run is told.
        """
        if not self.writes:
            return
        backend, data, rows = self.backend, self.dataset, self.progress.metrics
        summary = {
            "status": status,  # "finished", "interrupted" or "diverged"
            "reason": reason,
            "model": self.config.model.name,
            "backend": backend.name,
            "device": backend.device,
            "threads": backend.threads,
            "dataset": data.name,
            "dataset_source": data.source,
            "dataset_note": data.note,
            "train_images": len(data.train_labels),
            "test_images": len(data.test_labels),
            "epochs": len(rows),
            "seed": self.config.seed,
            "test_accuracy": rows[-1].test_accuracy if rows else None,
            "test_loss": rows[-1].test_loss if rows else None,
            "parameters": sum(row.parameters for row in backend.layer_table()),
            "seconds": self.seconds,
            "training_seconds": sum(row.seconds for row in rows),
            "notes": [*backend.notes, *self.notes],
            "processor": environment.processor(),
            "blas": environment.blas(),
            "versions": environment.versions(backend.name),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
        with nullcontext() if status == "finished" else suppress(OSError):
            write_atomically(self.directory / SUMMARY, text.encode())
