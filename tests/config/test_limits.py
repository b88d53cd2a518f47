"""What values settings may have: stated once, and for every setting that needs it."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import get_args, get_type_hints

import pytest

from training.config import schema
from training.config.limits import (
    between,
    interval,
    limit_of,
    one_of,
    parse_interval,
    two_fractions,
)

#: Texts of any content; names, whose options state them; a network's own arguments.
FREE = {"arguments", "name", "resume", "root", "title"}
KINDS = [kind for name, kind in vars(schema).items() if name.endswith("Config")]


@pytest.mark.parametrize(
    ("limit", "good", "bad", "words"),
    [
        (between(1), [1, 2**70], [0, -1], "must be at least 1, not 0"),
        (between(1, 8), [1, 8], [0, 9], "must be at least 1 and at most 8, not 0"),
        (between(0, above=True), [1e-300], [0.0, -1.0], "must be above 0, not 0.0"),
        (between(0), [0], [math.nan, math.inf], "must be a finite number at least 0, not nan"),
        (
            one_of("cpu", "cuda"),
            ["cuda"],
            ["gpu"],
            "one of cpu, cuda, not 'gpu' (did you mean",
        ),
        (one_of("sgd"), ["sgd"], ["adam"], "must be sgd, not 'adam'"),
        (two_fractions, [(0, 0.9)], [(0.9,), (0.9, 1.0), "x", 0.9], "must be two numbers"),
        (interval, ["1 epoch", "20 steps"], ["0 steps", "1", "1\tepoch"], "'200 steps', not '0 st"),
    ],
)
def test_limits(limit, good, bad, words) -> None:
    assert [limit(value) for value in good] == [""] * len(good)
    assert all(limit(value) for value in bad)
    assert words in limit(bad[0])


def test_intervals() -> None:
    assert parse_interval("1 epoch") == (1, "epoch")
    assert parse_interval(" 200steps ") == (200, "step")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_number_and_every_choice_is_limited(kind) -> None:
    hints = get_type_hints(kind)
    for field in fields(kind):
        types = {hints[field.name], *get_args(hints[field.name])}
        if types & {int, float}:
            assert limit_of(kind, field.name), field.name
        if str in types and field.name not in FREE:
            assert limit_of(kind, field.name), field.name
