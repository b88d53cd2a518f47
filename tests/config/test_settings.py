from __future__ import annotations

import pytest

from studies.records import recipe
from training.config.settings import DEPTH, FORMER, NEUTRAL, RESUMABLE, covered, flatten


def test_a_nested_configuration_is_flattened():
    tree = {"seed": 1, "model": {"name": "a", "arguments": {}}, "optimizer": {"betas": (0.9, 1)}}
    assert flatten(tree) == {
        "seed": 1,
        "model.name": "a",
        "model.arguments": {},
        "optimizer.betas": [0.9, 1],
    }


def test_nesting_without_end_is_left_whole():
    tree: dict = {}
    for _ in range(5000):
        tree = {"a": tree}
    (name,) = flatten(tree)
    assert name == ".".join("a" * (DEPTH + 1))


def test_a_group_covers_what_is_inside_and_no_namesake():
    assert covered("backend.threads", ["backend"])
    assert covered("backend", ["backend"])
    assert not covered("backends.threads", ["backend"])
    assert not covered("backend", ["backend.threads"])


@pytest.mark.parametrize("setting", sorted({*RESUMABLE, *NEUTRAL} - {*FORMER}))
def test_the_lists_name_settings_that_there_are(setting):
    assert any(covered(key, [setting]) for key in recipe(""))
