"""One run from its configuration to its folder of results."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from omegaconf import OmegaConf

from training import console, directories, environment, failures, signals
from training.artefacts import RunLabel, Summary, save_weights
from training.backend import Backend, open_backend
from training.checkpoint import write_atomically
from training.config import DEFAULT_EPOCHS, Config
from training.data import DataError, Dataset, load_dataset
from training.errors import ConfigError, DivergenceError, OutputError, StoppedError, cannot_write
from training.evaluation import Scores
from training.live_log import check_logger
from training.loop import Progress
from training.session import Session

SUMMARY = "summary.json"


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
    count = len(_load(config).train_labels)
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
        StoppedError: after SIGINT or SIGTERM.
    """
    dataset = _load(config)
    config, chosen = _with_epochs(config, dataset)
    backend = open_backend(config)
    backend.place(dataset)
    with directories.hold(directory), signals.listen() as stop:
        session = Session(config, backend, dataset, directory, stop)
        try:
            _print_heading(config, backend, chosen)
            if config.resume is not None:
                session.restore()
            return _train_and_save(config, backend, dataset, session, directory, stop)
        except (StoppedError, DivergenceError) as error:
            status = "diverged" if isinstance(error, DivergenceError) else "interrupted"
            summary = _summary(config, backend, dataset, session, status, str(error))
            with suppress(OSError):
                summary.save(directory / SUMMARY)
            raise
        except OSError as error:
            message = cannot_write(error, directory)
            if message is None:
                raise
            remedy = "nothing of the run was saved before"
            if session.saved:
                remedy = f"the last checkpoint is good; go on with: {session.resume_command}"
            raise OutputError(f"{message}; {remedy}") from error


def _train_and_save(
    config: Config,
    backend: Backend,
    dataset: Dataset,
    session: Session,
    directory: Path,
    stop: signals.StopRequest,
) -> float:
    saved = replace(config, resume=None, resume_override=False)
    text = OmegaConf.to_yaml(OmegaConf.structured(saved))
    write_atomically(directory / "config.yaml", text.encode())
    (directory / failures.NAME).unlink(missing_ok=True)
    scores = session.train()
    _save_artefacts(config, backend, dataset, session.progress, scores, directory)
    summary = _summary(config, backend, dataset, session, "finished")
    summary.save(directory / SUMMARY)
    print(
        f"test accuracy {scores.accuracy * 100:.2f} % "
        f"({dataset.name}, {summary.test_images} images)"
    )
    print(directory, flush=True)
    if stop():
        raise StoppedError(f"{stop.name} came when the run was already finished", stop.number or 0)
    return scores.accuracy


def _with_epochs(config: Config, dataset: Dataset) -> tuple[Config, str]:
    """Return the configuration with its number of epochs, and where that comes from."""
    if config.trainer.epochs is not None:
        return config, "as asked"
    epochs = DEFAULT_EPOCHS[dataset.name]
    chosen = replace(config, trainer=replace(config.trainer, epochs=epochs))
    return chosen, f"the default for {dataset.name}"


def _print_heading(config: Config, backend: Backend, chosen: str) -> None:
    print(
        f"{config.model.name} on {backend.name} ({backend.device}, "
        f"{_plural(backend.threads, 'thread')}), "
        f"seed {config.seed}, {_plural(config.trainer.epochs, 'epoch')} ({chosen})"
    )
    for note in backend.notes:
        print(note)
    print(console.layer_table(backend.layer_table()))


def _summary(
    config: Config,
    backend: Backend,
    dataset: Dataset,
    session: Session,
    status: str,
    reason: str = "",
) -> Summary:
    rows = session.progress.rows
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
        seconds=session.seconds,
        training_seconds=sum(row.seconds for row in rows),
        notes=[*backend.notes, *session.notes],
        processor=environment.processor(),
        blas=environment.blas(),
        versions=environment.versions(backend.name),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _save_artefacts(
    config: Config,
    backend: Backend,
    dataset: Dataset,
    progress: Progress,
    scores: Scores,
    directory: Path,
) -> None:
    from training import plots

    save_weights(directory / "weights.safetensors", backend.weights(), config.model)
    label = RunLabel(config.model.name, backend.name, dataset.name)
    plots.curves(directory / "curves.png", progress.rows, label)
    plots.confusion(directory / "confusion.png", scores, dataset, label)
    plots.worst(directory / "worst.png", scores, dataset, label)


def _plural(count: int | None, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _load(config: Config) -> Dataset:
    data = config.data
    try:
        return _load_once(data.name, data.root, data.download, config.model.image_size)
    except DataError as error:
        raise ConfigError(str(error)) from error


@lru_cache(maxsize=4)
def _load_once(name: str, root: str | None, download: bool, size: int) -> Dataset:
    return load_dataset(name, None if root is None else Path(root), download, size)
