"""Numbers as text, with as many digits as they deserve."""

from __future__ import annotations

import math

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def magnitude(value: float | None) -> str:
    """Return an error as two digits times a power of ten, for example 1.1×10⁻⁸."""
    if value is None or math.isnan(value):
        return "–"
    if value == 0 or math.isinf(value):
        return "0" if value == 0 else ("∞" if value > 0 else "−∞")
    return _powers(f"{value:.1e}")


def share(value: float) -> str:
    """Return the share of a budget: per cent up to all of it, a multiple above."""
    if math.isnan(value):
        return "–"
    if value == 0:
        return "0 %"
    if value < 0.001:
        return "< 0.1 %"
    if value <= 1:
        return f"{100 * value:.2g} %" if value < 0.995 else f"{100 * value:.4g} %"
    if math.isinf(value):
        return "no limit fits"
    if value < 1000:
        return f"{value:.3g} times" if value >= 1.01 else f"{value:.6g} times"
    return f"{magnitude(value)} times"


def value(number: float) -> str:
    """Return a computed value with nine digits, enough to tell two float32 apart."""
    return "–" if math.isnan(number) else _powers(f"{number:.9g}")


def _powers(text: str) -> str:
    digits, _, power = text.partition("e")
    raised = f"×10{str(int(power)).translate(_SUPERSCRIPTS)}" if power and int(power) else ""
    return digits.replace("-", "−") + raised


def shape(sizes: tuple[int, ...] | list[int]) -> str:
    """Return a shape, for example 6×28×28."""
    return "×".join(map(str, sizes)) if sizes else "one number"


def seconds(duration: float) -> str:
    """Return a duration."""
    return f"{duration:.1f} s" if duration < 10 else f"{duration:.0f} s"
