"""Mistakes as edits of the source: what is wrong stands beside what is right, in its own line.

An edit is a piece of a method with the mistake in it, ``"y = x @ «w→w.T» + b"``: the text before
the arrow is in the source, the text after it takes its place.
"""

from __future__ import annotations

import inspect
import re
import sys
from functools import cache, partial
from inspect import isfunction
from typing import Any

_CHANGE = re.compile("«(.*?)→(.*?)»", re.DOTALL)


def edited(kind: type, *edits: str) -> type:
    """Return a subclass of a class, with edits made in its own methods or in inherited ones.

    Raises:
        ValueError: unless the nearest class that has an edit's text has it in one place.
    """
    owners = kind.__mro__[:-1]
    sources = {owner: dict(_sources(owner)) for owner in owners}
    changed: dict[str, type] = {}
    for edit in edits:
        right, wrong = (_CHANGE.sub(rf"\{group}", edit) for group in (1, 2))
        counts = {
            (owner, name): source.count(right)
            for owner in owners
            for name, source in sources[owner].items()
            if right in source
        }
        owner, name = next(iter(counts), (kind, ""))
        if sum(count for (other, _), count in counts.items() if other is owner) != 1:
            raise ValueError(f"{owner.__name__} must have {right!r} in one place")
        sources[owner][name] = sources[owner][name].replace(right, wrong)
        changed[name] = owner
    methods = {
        name: _compiled(owner, name, sources[owner][name]) for name, owner in changed.items()
    }
    return type(kind.__name__, (kind,), methods)


@cache
def _sources(owner: type) -> dict[str, str]:
    """Return the sources of a class's own methods."""
    return {f.__name__: inspect.getsource(f) for f in vars(owner).values() if isfunction(f)}


def _compiled(owner: type, name: str, source: str) -> Any:
    """Return a method of a class from its source, indented as it stands in the class."""
    namespace = dict(vars(sys.modules[owner.__module__]))
    exec(f"def make(__class__):\n{source}\n    return {name}", namespace)  # super() needs the class
    return namespace["make"](owner)


def mistaken(right: Any, edits: tuple[str, ...], options: dict[str, Any]) -> Any:
    """Put edits and other values of its options into an object, or a partial that makes one."""
    if isinstance(right, partial):
        return partial(edited(right.func, *edits), **right.keywords | options)  # type: ignore[arg-type]
    right.__class__ = edited(type(right), *edits)
    for name, value in options.items():
        assert hasattr(right, name)
        setattr(right, name, value)
    return right
