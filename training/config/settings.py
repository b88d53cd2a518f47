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

#: Decide how a run is carried out and watched; they change what is computed by rounding at most.
INCIDENTAL = (
    *LOCAL,
    "trainer.checkpoint_every",
    "trainer.log_every",
    "trainer.evaluation_samples",
    "logger",
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


def overrides(config: Mapping[Any, Any]) -> dict[str, str]:
    """Return what gives a configuration's settings back, `++key=value`, by their dotted names.

    Left out are those of LOCAL, and a group without any settings.

    Raises:
        ValueError: naming a setting that no override gives back.
    """
    found = {}
    for path, value in _leaves(config, (), DEPTH):
        key = ".".join(path)
        if key in LOCAL or (value == {} and key == "model.arguments"):
            continue
        if not all(_KEY.fullmatch(part) for part in path):
            raise ValueError(f"there is no setting {key[:60]!r}")
        found[key] = f"++{key}={_in_grammar(key, value)}"
    if len(found) > MAX_SETTINGS:
        raise ValueError(f"its {len(found)} settings are more than {MAX_SETTINGS}")
    return found


def quote(value: str) -> str:
    """Return text as Hydra's grammar needs it."""
    return value if _PLAIN.fullmatch(value) else quoted(value)


def quoted(value: str) -> str:
    """Return text in quotation marks, in which it stays text whatever it looks like."""
    # The grammar doubles backslashes only where they stand before a quotation mark.
    escaped = re.sub(r"(\\*)'", lambda found: f"{found[1] * 2}\\'", value)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{trailing * chr(92)}'"


def _in_grammar(key: str, value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int():
            return repr(value)
        case float() if math.isfinite(value):
            return repr(value)
        case str() if len(value) <= MAX_TEXT and value.isprintable() and "${" not in value:
            return quoted(value)
        case str():
            limits = f"one line of at most {MAX_TEXT} printable characters, without ${{"
            raise ValueError(f"{key} must be {limits}, not {value[:60]!r}")
        case list() | tuple() if len(value) <= MAX_SETTINGS:
            return f"[{','.join(_in_grammar(key, item) for item in value)}]"
    raise ValueError(
        f"{key} must be a finite number, a text, or a short list of them, not {str(value)[:60]!r}"
    )


def _leaves(
    tree: Mapping[Any, Any], path: tuple[str, ...], depth: int
) -> Iterable[tuple[tuple[str, ...], Any]]:
    for key, value in tree.items():
        place = (*path, str(key))
        if isinstance(value, Mapping) and value and depth:
            yield from _leaves(value, place, depth - 1)
        else:
            yield place, list(value) if isinstance(value, tuple) else value
