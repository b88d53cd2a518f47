"""What a run prints: a bar where there is a terminal, plain lines where there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from shutil import get_terminal_size
from textwrap import indent
from time import perf_counter

from training.backends.protocol import Backend, EpochPlan, LayerRow
from training.config.schema import Config, TorchBackendConfig
from training.storage.tables import Row
from training.trainer.progress import Progress

#: Of an epoch's line, which loses details where the terminal has fewer.
MAX_COLUMNS = 100


class Console:
    """A run's lines on the terminal, none if silent; a label begins each where runs share it."""

    def __init__(self, silent: bool = False, label: str = "") -> None:
        self._silent, self._label = silent, label

    def say(self, text: str) -> None:
        """Show a line or several."""
        if not self._silent:
            print(indent(text, self._label), flush=True)

    def begin(self, epochs: int, done: int) -> None:
        """Start the clock of a run that has so many of its epochs behind it."""
        self._epochs, self._done = epochs, done
        self._started = perf_counter()

    @contextmanager
    def bar(
        self, label: str, plan: EpochPlan, progress: Progress
    ) -> Iterator[Callable[[int], object]]:
        """Give a function to call with the number of steps done; it draws only on a terminal."""
        if self._silent or self._label or not sys.stderr.isatty():
            yield lambda _: None
            return
        from tqdm import tqdm

        with tqdm(
            total=plan.steps, initial=progress.step, desc=label, unit="step", leave=False
        ) as bar:
            yield lambda done: bar.update(done - bar.n)

    def epoch(self, rows: Sequence[Row]) -> None:
        """Show the last epoch's results, the best test accuracy so far and when the run ends."""
        row, best = rows[-1], max(row.test_accuracy for row in rows)
        results = [
            f"epoch {row.epoch:>{len(str(self._epochs))}}/{self._epochs}",
            f"train {row.train_loss:.4f} {row.train_accuracy * 100:6.2f} %",
            f"test {row.test_loss:.4f} {row.test_accuracy * 100:6.2f} %",
        ]
        details = [f"lr {row.lr:.3g}", f"{row.seconds:.1f} s", f"best {best * 100:.2f} %"]
        if left := self._epochs - row.epoch:
            pace = (perf_counter() - self._started) / (row.epoch - self._done)
            details.append(f"ETA {timedelta(seconds=round(left * pace))}")
        columns = min(get_terminal_size((MAX_COLUMNS, 24)).columns, MAX_COLUMNS) - len(self._label)
        while details and len("  ".join([*results, *details])) > columns:
            del details[0]
        self.say("  ".join([*results, *details]))


def heading(config: Config, backend: Backend, chosen: str) -> str:
    """Return what stands above a run's epochs, whose number was chosen so, with the layer table."""
    workers = _plural(backend.threads, "thread")
    if backend.name == "numpy" and backend.threads > 1:
        workers = f"{backend.threads} processes"
    lines = [
        f"{config.model.name} on {backend.name} ({backend.device}, {workers}), "
        f"seed {config.seed}, {_plural(config.trainer.epochs, 'epoch')} ({chosen})",
        *backend.notes,
        layer_table(backend.layer_table()),
    ]
    if isinstance(config.backend, TorchBackendConfig) and config.backend.compile:
        lines.append("compiling: the first epoch takes longer")
    return "\n".join(lines)


def layer_table(rows: list[LayerRow]) -> str:
    """Return the model table: layer, kind, output shape and parameters, with their total."""
    cells = [("layer", "kind", "output", "parameters")]
    cells += [(r.name, r.kind, "×".join(map(str, r.shape)), f"{r.parameters:,}") for r in rows]
    cells += [("total", "", "", f"{sum(row.parameters for row in rows):,}")]
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    return "\n".join(
        f"  {name:<{widths[0]}}  {kind:<{widths[1]}}  {shape:<{widths[2]}}  {count:>{widths[3]}}"
        for name, kind, shape, count in cells
    )


def _plural(count: int | None, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
