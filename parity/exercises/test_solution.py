"""Holds solution.py against torch. It fails until every tensor agrees: run it with `pytest`."""

import exercise
import solution

from parity.grading.parts import assert_parts, parts


def test_solution() -> None:
    """Hold every pair together."""
    assert_parts(parts(exercise.pairs, solution))
