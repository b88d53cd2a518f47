"""A configuration's settings by their dotted names, and which of them leave a result as it is."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

#: Mappings deeper than this stay whole: a damaged file's may be nested without end.
DEPTH = 8
#: What a checkpoint holds: settings, or values in a list, and characters of a text.
MAX_SETTINGS = 200
MAX_TEXT = 500

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(r"[A-Za-z0-9_./+@%-]+")

#: Never taken from another run: where data lie on this machine, and the resumption itself.
LOCAL = ("data.root", "resume", "resume_override")

#: Settings of earlier versions, left out where a checkpoint has them.
FORMER = ("logger", "backend.batch_norm")

#: Decide how a run is carried out and watched; they change what is computed by rounding at most.
INCIDENTAL = (
    *LOCAL,
    *FORMER,
    "trainer.checkpoint_every",
    "trainer.log_every",
    "trainer.evaluation_samples",
    "study",
    "backend",
    "device",
    "data.download",
)

#: May change as a run is resumed: it may also go on for longer, but not from another seed.
RESUMABLE = (*INCIDENTAL, "trainer.epochs")

#: Make a run no variant of its recipe: seeds are what means are taken over, lengths are not.
NEUTRAL = (*INCIDENTAL, "seed")


def flatten(tree: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a nested configuration's values by dotted names; tuples become lists.

    An empty mapping is a value of its own.
    """
    return {".".join(path): value for path, value in _leaves(tree, (), DEPTH)}


def covered(key: str, settings: Iterable[str]) -> bool:
    """Return whether a dotted name is one of the settings, or inside one that is a group."""
    return any(key == setting or key.startswith(f"{setting}.") for setting in settings)


def restorable(config: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the settings, by their dotted names, that a checkpoint gives back.

    Left out are those of LOCAL and FORMER, and a network's arguments where it has none. Raises
    ValueError, naming it, for a setting that could not be given back.
    """
    found = {}
    for path, value in _leaves(config, (), DEPTH):
        key = ".".join(path)
        if covered(key, (*LOCAL, *FORMER)) or (value == {} and key == "model.arguments"):
            continue
        if not all(_KEY.fullmatch(part) for part in path):
            raise ValueError(f"there is no setting {key[:60]!r}")
        _check_value(key, value)
        found[key] = value
    if len(found) > MAX_SETTINGS:
        raise ValueError(f"its {len(found)} settings are more than {MAX_SETTINGS}")
    return found


def quote(value: str) -> str:
    """Return text as Hydra's grammar needs it."""
    if _PLAIN.fullmatch(value):
        return value
    # The grammar doubles backslashes only where they stand before a quotation mark.
    escaped = re.sub(r"(\\*)'", lambda found: f"{found[1] * 2}\\'", value)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{trailing * chr(92)}'"


def _check_value(key: str, value: Any) -> None:
    match value:
        case None | bool() | int():
            return
        case float() if math.isfinite(value):
            return
        case str():
            if len(value) > MAX_TEXT or not value.isprintable() or "${" in value:
                limits = f"one line of at most {MAX_TEXT} printable characters, without ${{"
                raise ValueError(f"{key} must be {limits}, not {value[:60]!r}")
        case list() if len(value) <= MAX_SETTINGS:
            for item in value:
                _check_value(key, item)
        case _:
            wanted = "a finite number, a text, or a short list of them"
            raise ValueError(f"{key} must be {wanted}, not {str(value)[:60]!r}")


def _leaves(
    tree: Mapping[Any, Any], path: tuple[str, ...], depth: int
) -> Iterable[tuple[tuple[str, ...], Any]]:
    for key, value in tree.items():
        place = (*path, str(key))
        if isinstance(value, Mapping) and value and depth:
            yield from _leaves(value, place, depth - 1)
        else:
            yield place, list(value) if isinstance(value, tuple) else value
