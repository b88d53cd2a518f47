"""Drawings as inline SVG: a heat map and a plot over steps. Colours come from the page's CSS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from parity.report.numbers import share

LEVELS = 8


def heat_map(cells: Sequence[Sequence[float]], title: str, description: str) -> str:
    """Return a grid of squares, the darker the larger: NaN is left out, infinity is crossed.

    Args:
        cells: rows of non-negative numbers.
        title: what a screen reader announces.
        description: the same at more length.
    """
    rows, columns = len(cells), max(len(row) for row in cells)
    finite = [cell for row in cells for cell in row if math.isfinite(cell)]
    top = max(finite, default=0.0)
    squares: dict[int, list[str]] = {}
    for y, row in enumerate(cells):
        for x, cell in enumerate(row):
            if not math.isnan(cell):
                squares.setdefault(_level(cell, top), []).append(f"M{x} {y}h1v1h-1z")
    paths = "".join(
        f'<path class="heat{level}" d="{"".join(parts)}"/>'
        for level, parts in sorted(squares.items())
    )
    size = max(3, min(24, 440 // columns, 300 // rows))
    return (
        f'<svg class="heat" role="img" viewBox="0 0 {columns} {rows}" width="{columns * size}" '
        f'shape-rendering="crispEdges"><title>{escape(title)}</title>'
        f"<desc>{escape(description)}</desc>{paths}</svg>"
    )


def heat_key() -> str:
    """Return the scale of a heat map, smallest first."""
    squares = "".join(f'<path class="heat{n}" d="M{n} 0h1v1h-1z"/>' for n in range(LEVELS + 1))
    box = f'viewBox="0 0 {LEVELS + 1} 1" width="{12 * (LEVELS + 1)}"'
    return f'<svg class="key" {box} aria-hidden="true">{squares}</svg>'


def _level(cell: float, top: float) -> int:
    """Return 0 for none, 1 to LEVELS by size, LEVELS + 1 for infinity."""
    if math.isinf(cell):
        return LEVELS + 1
    return math.ceil(LEVELS * cell / top) if top > 0 else 0


@dataclass(frozen=True)
class Series:
    """One line of a plot.

    Attributes:
        style: class of the line in the page's CSS.
        values: one for each step from 1; the line ends where they end.
        marks: whether each step has a dot.
    """

    style: str
    values: list[float]
    marks: bool = False


_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 360, 46, 10, 10, 32


def plot(
    lines: Sequence[Series],
    steps: int,
    title: str,
    description: str,
    *,
    shares: bool = False,
    marked: Sequence[int] = (),
    height: int = 170,
) -> str:
    """Return a plot over the steps 1 to `steps`; what lies outside its scale is drawn at the edge.

    Args:
        lines: the values.
        steps: length of the horizontal axis.
        title: what a screen reader announces.
        description: the same at more length.
        shares: whether values are shares of a budget: then the scale is logarithmic, and the
            budget itself is drawn as a line.
        marked: steps after which something changes: drawn as dotted uprights.
        height: in the SVG's own units, of which the width has 360.
    """
    values = [v for line in lines for v in line.values if math.isfinite(v)]
    ticks = _decades(values) if shares else _round_ticks(values)
    low, high = _scale(ticks[0], shares), _scale(ticks[-1], shares)

    def at(step: float) -> float:
        return _LEFT + (step - 1) / max(steps - 1, 1) * (_WIDTH - _LEFT - _RIGHT)

    def up(value: float) -> float:
        inside = min(max(value, ticks[0]), ticks[-1])
        place = (_scale(inside, shares) - low) / (high - low)
        return height - _BOTTOM - place * (height - _TOP - _BOTTOM)

    drawn = [_grid(tick, up(tick), _tick(tick) if shares else f"{tick:g}") for tick in ticks]
    if shares:
        drawn.append(_limit(up(1.0)))
    drawn += [
        f'<path class="mark" d="M{at(step + 0.5):.1f} {_TOP}V{height - _BOTTOM}"/>'
        for step in marked
    ]
    numbers = [step for step in (1, *range(5, steps + 1, 5))]
    drawn += [
        f'<text x="{at(step):.1f}" y="{height - _BOTTOM + 14}" text-anchor="middle">{step}</text>'
        for step in numbers
    ]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    drawn.append(f'<text x="{middle}" y="{height - 3}" text-anchor="middle">optimizer step</text>')
    for line in lines:
        points = [(at(n), up(v)) for n, v in enumerate(line.values, 1) if not math.isnan(v)]
        drawn.append(_line(line, points))
    return (
        f'<svg class="plot" role="img" viewBox="0 0 {_WIDTH} {height}"><title>{escape(title)}'
        f"</title><desc>{escape(description)}</desc>{''.join(drawn)}</svg>"
    )


def _tick(value: float) -> str:
    if value <= 1:
        return share(value)
    return f"{value:g}×" if value < 10_000 else "10⁴×"


def _grid(tick: float, y: float, label: str) -> str:
    return (
        f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
        f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(label)}</text>'
    )


def _limit(y: float) -> str:
    return f'<path class="limit" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'


def _line(line: Series, points: Sequence[tuple[float, float]]) -> str:
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2"/>' for x, y in points)
    dots = dots if line.marks or len(points) == 1 else ""
    return f'<g class="{line.style}"><path d="{path}"/>{dots}</g>'


def _scale(value: float, shares: bool) -> float:
    return math.log10(value) if shares else value


def _decades(values: Sequence[float]) -> list[float]:
    """Return powers of ten around shares, between a ten-thousandth and ten thousand budgets."""
    positive = [value for value in values if value > 0]
    low = max(-4, min(-2, math.floor(math.log10(min(positive, default=1.0)))))
    high = min(4, max(0, math.ceil(math.log10(max(positive, default=1.0)))))
    stride = 1 if high == 0 else 2
    return [10.0**power for power in reversed(range(high + high % 2, low - 1, -stride))]


def _round_ticks(values: Sequence[float]) -> list[float]:
    """Return three to six round numbers from at or below the least to at or above the greatest."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    spread = (high - low) or abs(high) or 1.0
    unit = 10.0 ** math.floor(math.log10(spread / 2))
    step = next(unit * m for m in (1, 2, 5, 10) if spread / (unit * m) <= 4)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(n * step, 12) for n in range(first, max(last, first + 1) + 1)]
