"""The tables (`storage.tables`) that grow while a run goes on."""

from __future__ import annotations

from pathlib import Path

from training.config.schema import Config
from training.storage.tables import TABLES, Numbers, Row, Table
from training.trainer.progress import Progress


class Recorder:
    """Adds rows to a run's progress, and writes them to its tables.

    The tables are written anew from the progress where a run begins or goes on: what a killed
    process left in them beyond its last save is trained, and written, again.

    Args:
        config: the run's.
        directory: its folder, or None for a rank that writes nothing.
        progress: where the run stands.
    """

    def __init__(self, config: Config, directory: Path | None, progress: Progress) -> None:
        self._progress = progress
        self._tables: dict[str, Table] = {}
        if directory is None:
            return
        wanted = {"metrics": 1, "steps": config.trainer.log_every}
        wanted["evaluations"] = config.trainer.evaluation_samples
        for name, columns in TABLES.items():
            rows = getattr(progress, name)
            if rows or wanted[name]:
                cells = rows if name == "metrics" else map(_cells, rows)
                self._tables[name] = Table(directory / f"{name}.csv", columns, cells)

    def after_steps(self, step: int) -> None:
        """Add a row for the steps since the last one, up to a step of the run."""
        progress, totals = self._progress, self._progress.totals
        images = totals.images - progress.recorded.images
        loss = (totals.loss - progress.recorded.loss) / images
        accuracy = (totals.correct - progress.recorded.correct) / images
        progress.recorded = totals
        progress.steps.append((step, loss, accuracy))
        self._write("steps", _cells(progress.steps[-1]))

    def evaluation(self, step: int, epoch: int, train: float, test: float) -> None:
        """Add accuracies on samples of both sets after a step and so many epochs."""
        self._progress.evaluations.append((step, epoch, train, test))
        self._write("evaluations", _cells(self._progress.evaluations[-1]))

    def end_epoch(self, row: Row) -> None:
        """Write an epoch that has been completed."""
        self._write("metrics", row)

    def _write(self, name: str, cells: Numbers | list[str]) -> None:
        if name in self._tables:
            self._tables[name].append(cells)


def _cells(row: Numbers) -> list[str]:
    return [f"{value:.6g}" if value % 1 else str(int(value)) for value in row]
