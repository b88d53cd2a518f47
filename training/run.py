"""One run from its configuration to its folder of results."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any

from omegaconf import OmegaConf

from training import console, environment
from training.artefacts import MetricsLog, RunLabel, Summary, save_weights
from training.backend import Backend, open_backend
from training.checkpoint import save_checkpoint
from training.config import DEFAULT_EPOCHS, Config
from training.data import DataError, Dataset, load_dataset
from training.errors import ConfigError
from training.evaluation import Scores
from training.loop import Progress, finish_epoch, plan_epoch, train_epoch


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
    count = len(_load(config).train_labels)
    if config.data.sampling == "replacement" and config.trainer.batch_size > count:
        raise ConfigError(
            f"trainer.batch_size={config.trainer.batch_size} is more than the {count} training "
            "images: data.sampling=replacement takes full batches only"
        )


def run(config: Config, directory: Path) -> Summary:
    """Train, print, and leave the results in directory; return its summary.

    Raises:
        ConfigError: for what a user can repair.
    """
    started = perf_counter()
    dataset = _load(config)
    if config.trainer.epochs is None:
        chosen = f"the default for {dataset.name}"
        config = replace(config, trainer=replace(config.trainer))
        config.trainer.epochs = DEFAULT_EPOCHS[dataset.name]
    else:
        chosen = "as asked"
    backend = open_backend(config)
    backend.place(dataset)
    OmegaConf.save(OmegaConf.structured(config), directory / "config.yaml")
    threads = _plural(backend.threads, "thread")
    print(
        f"{config.model.name} on {backend.name} ({backend.device}, {threads}), "
        f"seed {config.seed}, {_plural(config.trainer.epochs, 'epoch')} ({chosen})"
    )
    for note in backend.notes:
        print(note)
    print(console.layer_table(backend.layer_table()))
    progress = Progress()
    try:
        scores = _train(config, backend, dataset, progress, MetricsLog(directory))
    except KeyboardInterrupt:
        print(
            f"\ninterrupted in epoch {progress.epoch + 1}: the {progress.epoch} epochs before it "
            f"are in {directory}",
            file=sys.stderr,
        )
        sys.exit(130)
    summary = _summary(config, backend, dataset, progress, perf_counter() - started)
    _save(config, backend, dataset, progress, scores, summary, directory)
    print(
        f"test accuracy {summary.test_accuracy * 100:.2f} % "
        f"({dataset.name}, {summary.test_images} images)"
    )
    print(directory)
    return summary


def _train(
    config: Config, backend: Backend, dataset: Dataset, progress: Progress, log: MetricsLog
) -> Scores:
    epochs = config.trainer.epochs
    assert epochs is not None
    record: dict[str, Any] = {"config": asdict(config), "dataset": dataset.name}
    while progress.epoch < epochs:
        plan = plan_epoch(config, len(dataset.train_labels), progress.epoch)
        label = f"epoch {progress.epoch + 1}/{epochs}"
        with console.progress_bar(label, plan.steps, progress.step) as advance:
            train_epoch(backend, plan, progress, advance)
        scores = finish_epoch(backend, dataset, progress)
        log.append(progress.rows[-1])
        record["progress"] = progress.to_record()
        save_checkpoint(log.directory / "checkpoint.safetensors", backend.state(), record)
        print(console.epoch_line(progress.rows[-1], epochs), flush=True)
    return scores


def _summary(
    config: Config, backend: Backend, dataset: Dataset, progress: Progress, seconds: float
) -> Summary:
    last = progress.rows[-1]
    return Summary(
        model=config.model.name,
        backend=backend.name,
        device=backend.device,
        threads=backend.threads,
        dataset=dataset.name,
        dataset_source=dataset.source,
        dataset_note=dataset.note,
        train_images=len(dataset.train_labels),
        test_images=len(dataset.test_labels),
        epochs=progress.epoch,
        seed=config.seed,
        test_accuracy=last.test_accuracy,
        test_loss=last.test_loss,
        parameters=sum(row.parameters for row in backend.layer_table()),
        seconds=seconds,
        training_seconds=sum(row.seconds for row in progress.rows),
        notes=list(backend.notes),
        processor=environment.processor(),
        blas=environment.blas_variables(),
        versions=environment.versions(backend.name),
    )


def _save(
    config: Config,
    backend: Backend,
    dataset: Dataset,
    progress: Progress,
    scores: Scores,
    summary: Summary,
    directory: Path,
) -> None:
    from training import plots

    save_weights(directory / "weights.safetensors", backend.weights(), config.model)
    label = RunLabel(config.model.name, backend.name, dataset.name)
    plots.curves(directory / "curves.png", progress.rows, label)
    plots.confusion(directory / "confusion.png", scores, dataset, label)
    plots.worst(directory / "worst.png", scores, dataset, label)
    summary.save(directory / "summary.json")


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
