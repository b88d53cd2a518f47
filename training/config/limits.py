"""What a setting's value may be, beyond its type: stated once, beside the type, by `Annotated`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, Protocol

from training.errors import did_you_mean

_SYNONYMS = {"gpu": "cuda", "pytorch": "torch"}


class Limit(Protocol):
    """A bound on a value of the right type."""

    def objection(self, value: Any) -> str:
        """Return what a value must be, and is not, in words; "" if it may be what it is."""


class OneOf:
    """One of a few words."""

    def __init__(self, *choices: str) -> None:
        self.choices = choices

    def objection(self, value: str) -> str:
        """Return the choices, and the one that is probably meant."""
        if value in self.choices:
            return ""
        hint = did_you_mean(_SYNONYMS.get(value, value), self.choices)
        wanted = self.choices[0] if len(self.choices) == 1 else f"one of {', '.join(self.choices)}"
        return f"must be {wanted}, not {value!r}{hint}"


@dataclass(frozen=True)
class Range:
    """A finite number between two others; `above` leaves the least out."""

    least: float
    greatest: float = math.inf
    above: bool = False

    def objection(self, value: float) -> str:
        """Return the bounds."""
        large = value > self.least if self.above else value >= self.least
        if large and value <= self.greatest and math.isfinite(value):
            return ""
        wanted = f"{'above' if self.above else 'at least'} {self.least}"
        if math.isfinite(self.greatest):
            wanted += f" and at most {self.greatest}"
        elif not math.isfinite(value):
            wanted = f"a finite number {wanted}"
        return f"must be {wanted}, not {value}"


class TwoFractions:
    """Two numbers, each at least 0 and below 1."""

    def objection(self, value: Any) -> str:
        """Return what is wanted; value may also be what could not be converted."""
        if isinstance(value, tuple | list) and len(value) == 2 and all(0 <= v < 1 for v in value):
            return ""
        shown = list(value) if isinstance(value, tuple) else value
        return f"must be two numbers, each at least 0 and below 1, not {shown}"


class Interval(NamedTuple):
    """A number of steps or epochs."""

    number: int
    unit: str  # "step" or "epoch"


def parse_interval(text: str) -> Interval:
    """Return what "200 steps" or "1 epoch" says.

    Raises:
        ValueError: if text is not of that form.
    """
    found = re.fullmatch(r" *([1-9][0-9]{0,11}) *(step|epoch)s? *", text)
    if not found:
        raise ValueError(
            "must be a whole number of at least 1 and its unit, as '1 epoch' or '200 steps', "
            f"not {text!r}"
        )
    return Interval(int(found[1]), found[2])


class Every:
    """An interval."""

    def objection(self, value: str) -> str:
        """Return what an interval looks like."""
        try:
            parse_interval(value)
        except ValueError as error:
            return str(error)
        return ""


Positive = Annotated[float, Range(0, above=True)]
NonNegative = Annotated[float, Range(0)]
Fraction = Annotated[float, Range(0, 1)]
Fractions = Annotated[tuple[float, float], TwoFractions()]
Natural = Annotated[int, Range(0)]
Count = Annotated[int, Range(1)]
