"""What a run prints: a bar where there is a terminal, plain lines where there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from training.backend import LayerRow
from training.loop import Row


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


@contextmanager
def progress_bar(label: str, steps: int, done: int) -> Iterator[Callable[[int], object]]:
    """Give a function to call with the number of steps done; it draws only on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from tqdm import tqdm

    with tqdm(total=steps, initial=done, desc=label, unit="step", leave=False) as bar:
        yield lambda steps_done: bar.update(steps_done - bar.n)
