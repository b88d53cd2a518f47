"""One run from its configuration to its folder of results."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from omegaconf import OmegaConf

from training import environment
from training.backends.protocol import Backend, open_backend
from training.cli import failures
from training.config.schema import DEFAULT_EPOCHS, Config, TorchBackendConfig
from training.data import DataError, Dataset, load_dataset
from training.errors import (
    ConfigError,
    DivergenceError,
    OutputError,
    ProcessError,
    StoppedError,
    cannot_write,
)
from training.storage import run_folder
from training.storage.files import write_atomically
from training.trainer import console, signals
from training.trainer.artefacts import Summary, draw, save_weights
from training.trainer.evaluation import Scores
from training.trainer.live_log import check_logger
from training.trainer.loop import Rounds, finish, quiet_overflow
from training.trainer.resume import SUMMARY
from training.trainer.session import Session


def check_job(config: Config) -> None:
    """Find out, without writing anything, whether the job's data, network and device are there.

    Raises:
        ConfigError: with what is missing or does not fit.
    """
    backend = open_backend(config)
    size = config.model.image_size
    try:
        backend.layer_table()
    except (ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"model.image_size={size}: {config.model.name} cannot take {size}×{size} images "
            f"({reason})"
        ) from error
    check_logger(config)
    count = len(load(config).train_labels)
    if config.data.sampling == "replacement" and config.trainer.batch_size > count:
        raise ConfigError(
            f"trainer.batch_size={config.trainer.batch_size} is more than the {count} training "
            "images: data.sampling=replacement takes full batches only"
        )


def run(config: Config, directory: Path) -> float:
    """Train, print, and leave the results in directory; return the test accuracy.

    Raises:
        ConfigError: for what a user can repair.
        OutputError: if the results cannot be written.
        DivergenceError: if the loss becomes infinite or not a number.
        ProcessError: if another of several processes is gone.
        StoppedError: after SIGINT or SIGTERM.
    """
    dataset = load(config)
    backend = open_backend(config)
    backend.place(dataset)
    with quiet_overflow(), signals.listen() as stop:
        return finish(Run(config, backend, dataset, directory, stop, console.Screen()).rounds())


class Run:
    """One run from its first step to its folder of results, by itself or beside others.

    Args:
        config: the run's.
        backend: which has the dataset's images.
        dataset: with the labels.
        directory: where the results go.
        stop: tells of a signal.
        screen: where the run reports.
        notes: what a reader of the record has to know.
    """

    def __init__(
        self,
        config: Config,
        backend: Backend,
        dataset: Dataset,
        directory: Path,
        stop: signals.StopRequest,
        screen: console.Screen,
        notes: Iterable[str] = (),
    ) -> None:
        self._config, self._chosen = with_epochs(config, dataset)
        self._backend, self._dataset, self._directory = backend, dataset, directory
        self._stop, self._screen = stop, screen
        self._session = Session(self._config, backend, dataset, directory, stop, screen, notes)

    def rounds(self) -> Rounds[float]:
        """Train, with pauses; return the test accuracy.

        Raises:
            ConfigError, OutputError, DivergenceError, ProcessError, StoppedError: as `run`.
        """
        session, directory = self._session, self._directory
        with run_folder.hold(directory):
            try:
                self._screen.say(heading(self._config, self._backend, self._chosen))
                if self._config.resume is not None:
                    session.restore()
                return (yield from self._train_and_save())
            except ProcessError as error:
                reason = f"{error}; {self._remedy()}"
                with suppress(OSError):
                    self._summary("interrupted", reason).save(directory / SUMMARY)
                raise ProcessError(reason) from error
            except (StoppedError, DivergenceError) as error:
                status = "diverged" if isinstance(error, DivergenceError) else "interrupted"
                with suppress(OSError):
                    self._summary(status, str(error)).save(directory / SUMMARY)
                raise
            except OSError as error:
                message = cannot_write(error, directory)
                if message is None:
                    raise
                raise OutputError(f"{message}; {self._remedy()}") from error

    def _train_and_save(self) -> Rounds[float]:
        directory, stop = self._directory, self._stop
        saved = replace(self._config, resume=None, resume_override=False)
        text = OmegaConf.to_yaml(OmegaConf.structured(saved))
        write_atomically(directory / "config.yaml", text.encode())
        (directory / failures.NAME).unlink(missing_ok=True)
        scores = yield from self._session.rounds()
        self._save_artefacts(scores)
        summary = self._summary("finished")
        summary.save(directory / SUMMARY)
        self._screen.say(
            f"test accuracy {scores.accuracy * 100:.2f} % "
            f"({summary.dataset}, {summary.test_images} images)\n{directory}"
        )
        if stop():
            finished = f"{stop.name} came when the run was already finished"
            raise StoppedError(finished, stop.number or 0)
        return scores.accuracy

    def _remedy(self) -> str:
        if not self._session.saved:
            return "nothing of the run was saved before"
        return f"the last checkpoint is good; go on with: {self._session.resume_command}"

    def _summary(self, status: str, reason: str = "") -> Summary:
        config, backend, dataset = self._config, self._backend, self._dataset
        rows = self._session.progress.rows
        return Summary(
            status=status,
            reason=reason,
            model=config.model.name,
            backend=backend.name,
            device=backend.device,
            threads=backend.threads,
            dataset=dataset.name,
            dataset_source=dataset.source,
            dataset_note=dataset.note,
            train_images=len(dataset.train_labels),
            test_images=len(dataset.test_labels),
            epochs=len(rows),
            seed=config.seed,
            test_accuracy=rows[-1].test_accuracy if rows else None,
            test_loss=rows[-1].test_loss if rows else None,
            parameters=sum(row.parameters for row in backend.layer_table()),
            seconds=self._session.seconds,
            training_seconds=sum(row.seconds for row in rows),
            notes=[*backend.notes, *self._session.notes],
            processor=environment.processor(),
            blas=environment.blas(),
            versions=environment.versions(backend.name),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _save_artefacts(self, scores: Scores) -> None:
        directory, dataset, model = self._directory, self._dataset, self._config.model
        save_weights(directory, self._backend.weights(), model)
        rows = self._session.progress.rows
        draw(directory, self._config, self._backend.name, dataset, rows, scores)


def with_epochs(config: Config, dataset: Dataset) -> tuple[Config, str]:
    """Return the configuration with its number of epochs, and where that comes from."""
    if config.trainer.epochs is not None:
        return config, "as asked"
    epochs = DEFAULT_EPOCHS[dataset.name]
    chosen = replace(config, trainer=replace(config.trainer, epochs=epochs))
    return chosen, f"the default for {dataset.name}"


def heading(config: Config, backend: Backend, chosen: str, runs: str = "") -> str:
    """Return what stands above a run's epochs; runs says which, where there are several."""
    runs = runs or f"seed {config.seed}"
    lines = [
        f"{config.model.name} on {backend.name} ({backend.device}, "
        f"{_plural(backend.threads, 'thread')}), "
        f"{runs}, {_plural(config.trainer.epochs, 'epoch')} ({chosen})"
    ]
    table = console.layer_table(backend.layer_table())
    compiles = isinstance(config.backend, TorchBackendConfig) and config.backend.compile
    last = ["compiling: the first epoch takes longer"] if compiles else []
    return "\n".join([*lines, *backend.notes, table, *last])


def _plural(count: int | None, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def load(config: Config) -> Dataset:
    """Return the configured data.

    Raises:
        ConfigError: if they cannot be had.
    """
    data = config.data
    try:
        return _load_once(data.name, data.root, data.download, config.model.image_size)
    except DataError as error:
        raise ConfigError(str(error)) from error


@lru_cache(maxsize=4)
def _load_once(name: str, root: str | None, download: bool, size: int) -> Dataset:
    return load_dataset(name, None if root is None else Path(root), download, size)
