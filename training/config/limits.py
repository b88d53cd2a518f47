"""What a setting's value may be, beyond its type: stated once, beside the type, by `Annotated`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, get_args, get_type_hints

from training.errors import ConfigError, did_you_mean

_SYNONYMS = {"gpu": "cuda", "pytorch": "torch"}
_INTERVAL = re.compile(r" *([1-9][0-9]{0,11}) *(step|epoch)s? *")


#: Says in words what a value of the right type must be, and is not; "" if it may be what it is.
Limit = Callable[[Any], str]


def one_of(*choices: str) -> Limit:
    """Return the limit to a few words; it also tells the one that is probably meant."""

    def objection(value: str) -> str:
        if value in choices:
            return ""
        hint = did_you_mean(_SYNONYMS.get(value, value), choices)
        wanted = choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
        return f"must be {wanted}, not {value!r}{hint}"

    return objection


def between(least: float, greatest: float = math.inf, above: bool = False) -> Limit:
    """Return the limit to finite numbers between two others; `above` leaves the least out."""

    def objection(value: float) -> str:
        large = value > least if above else value >= least
        if large and value <= greatest and math.isfinite(value):
            return ""
        wanted = f"{'above' if above else 'at least'} {least}"
        if math.isfinite(greatest):
            wanted += f" and at most {greatest}"
        elif not math.isfinite(value):
            wanted = f"a finite number {wanted}"
        return f"must be {wanted}, not {value}"

    return objection


def two_fractions(value: Any) -> str:
    """Limit to two numbers, each at least 0 and below 1; value may be of any type."""
    if isinstance(value, tuple | list) and len(value) == 2 and all(0 <= v < 1 for v in value):
        return ""
    shown = list(value) if isinstance(value, tuple) else value
    return f"must be two numbers, each at least 0 and below 1, not {shown}"


def interval(value: str) -> str:
    """Limit to '<number> steps' or '<number> epochs'."""
    if _INTERVAL.fullmatch(value):
        return ""
    wanted = "a whole number of at least 1 and its unit, as '1 epoch' or '200 steps'"
    return f"must be {wanted}, not {value!r}"


def parse_interval(text: str) -> tuple[int, str]:
    """Return the number and the unit, "step" or "epoch", of "200 steps" or "1 epoch"."""
    found = _INTERVAL.fullmatch(text)
    assert found
    return int(found[1]), found[2]


def limit_of(kind: Any, name: str) -> Limit | None:
    """Return the limit that a dataclass states for one of its fields."""
    hint = get_type_hints(kind, include_extras=True)[name]
    for part in (hint, *get_args(hint)):  # of `Annotated[...] | None`, too
        for limit in getattr(part, "__metadata__", ()):
            return limit
    return None


def check_limits(group: Any, prefix: str = "") -> None:
    """Refuse, by ConfigError, a dataclass of which a value is beyond its limit."""
    for field in fields(group):
        value = getattr(group, field.name)
        if is_dataclass(value):
            check_limits(value, f"{prefix}{field.name}.")
            continue
        limit = limit_of(type(group), field.name)
        if value is not None and limit and (objection := limit(value)):
            raise ConfigError(f"{prefix}{field.name} {objection}")


Positive = Annotated[float, between(0, above=True)]
NonNegative = Annotated[float, between(0)]
Fraction = Annotated[float, between(0, 1)]
Fractions = Annotated[tuple[float, float], two_fractions]
Natural = Annotated[int, between(0)]
Count = Annotated[int, between(1)]
