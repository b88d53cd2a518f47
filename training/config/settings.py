"""A configuration's settings by their dotted names, and which of them leave a result as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: Mappings deeper than this stay whole: a damaged file's may be nested without end.
DEPTH = 8
#: Characters of a text in a checkpoint.
MAX_TEXT = 500

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
    return dict(_leaves(tree, (), DEPTH))


def covered(key: str, settings: Iterable[str]) -> bool:
    """Return whether a dotted name is one of the settings, or inside one that is a group."""
    return any(key == setting or key.startswith(f"{setting}.") for setting in settings)


def _leaves(
    tree: Mapping[Any, Any], path: tuple[str, ...], depth: int
) -> Iterable[tuple[str, Any]]:
    for key, value in tree.items():
        place = (*path, str(key))
        if isinstance(value, Mapping) and value and depth:
            yield from _leaves(value, place, depth - 1)
        else:
            yield ".".join(place), list(value) if isinstance(value, tuple) else value
