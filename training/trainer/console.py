"""What a run prints: a bar where there is a terminal, plain lines where there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from time import perf_counter

from training.backends.protocol import LayerRow
from training.trainer.loop import Row


class Screen:
    """The terminal, as a run speaks to it."""

    def say(self, text: str) -> None:
        """Show a line or several."""
        print(text, flush=True)

    def bar(
        self, label: str, steps: int, done: int
    ) -> AbstractContextManager[Callable[[int], object]]:
        """Give a function to call with the number of steps done."""
        return progress_bar(label, steps, done)


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


def epoch_line(row: Row, epochs: int) -> str:
    """Return an epoch's results as one line."""
    return (
        f"epoch {row.epoch:>{len(str(epochs))}}/{epochs}  lr {row.lr:.3g}"
        f"  train loss {row.train_loss:.4f} accuracy {row.train_accuracy:7.2%}"
        f"  test loss {row.test_loss:.4f} accuracy {row.test_accuracy:7.2%}"
        f"  {row.seconds:.2f} s  {row.images_per_second:,.0f} images/s"
    ).replace("%", " %")


class Outlook:
    """Tells after each epoch what is left of the run and how good it has been at best."""

    def __init__(self, epochs: int, done: int) -> None:
        self._epochs, self._done = epochs, done
        self._started = perf_counter()

    def line(self, rows: Sequence[Row]) -> str:
        """Return the last epoch's results with the best accuracy so far and the time left."""
        last, best = rows[-1], max(rows, key=lambda row: row.test_accuracy)
        words = [epoch_line(last, self._epochs)]
        words.append(f"best {best.test_accuracy * 100:.2f} % (epoch {best.epoch})")
        return "  ".join([*words, *self._left(last.epoch)])

    def _left(self, epoch: int) -> list[str]:
        left = self._epochs - epoch
        if not left:
            return []
        pace = (perf_counter() - self._started) / (epoch - self._done)
        return [f"{duration(left * pace)} left"]


def duration(seconds: float) -> str:
    """Return a time span in its two greatest units: "45 s", "3 min 20 s" or "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def progress_bar(label: str, steps: int, done: int) -> Iterator[Callable[[int], object]]:
    """Give a function to call with the number of steps done; it draws only on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from tqdm import tqdm

    with tqdm(total=steps, initial=done, desc=label, unit="step", leave=False) as bar:
        yield lambda steps_done: bar.update(steps_done - bar.n)
