"""Inputs and outputs of several arrays: nested tuples, lists and dicts, and names for their leaves.

A leaf alone is named "", inside a structure it is "[0]", "[h0]" or "[1][h0]". Names are what both
sides have in common, so that it does not matter which of them returns a list and which a tuple.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Call(NamedTuple):
    """The arguments of a call."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def call_of(inputs: Any) -> Call:
    """Return how a side is called: a tuple gives positions, a dict keywords, the rest is alone."""
    if isinstance(inputs, Call):
        return inputs
    if type(inputs) is tuple:
        return Call(inputs, {})
    return Call((), dict(inputs)) if isinstance(inputs, Mapping) else Call((inputs,), {})


def named(tree: Any, kind: type | tuple[type, ...] = object) -> dict[str, Any]:
    """Return the leaves of a kind by name; one that is the only one of its kind is named ""."""
    found = dict[str, Any]()

    def collect(name: str, leaf: Any) -> Any:
        if isinstance(leaf, kind):
            found[name] = leaf
        return leaf

    _walk(collect, tree, "")
    return {"": next(iter(found.values()))} if len(found) == 1 else found


def mapped(function: Callable[[str, Any], Any], tree: Any, kind: type | tuple[type, ...]) -> Any:
    """Return the structure with function(name, leaf) for the leaves of a kind, named as above."""
    alone = len(named(tree, kind)) == 1

    def change(name: str, leaf: Any) -> Any:
        return function("" if alone else name, leaf) if isinstance(leaf, kind) else leaf

    return _walk(change, tree, "")


def _walk(function: Callable[[str, Any], Any], tree: Any, name: str) -> Any:
    if isinstance(tree, Call):
        args = tuple(_walk(function, x, f"{name}[{i}]") for i, x in enumerate(tree.args))
        return Call(args, _walk(function, tree.kwargs, name))
    if isinstance(tree, Mapping):
        return {key: _walk(function, value, f"{name}[{key}]") for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        items = [_walk(function, value, f"{name}[{i}]") for i, value in enumerate(tree)]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    return function(name, tree)
