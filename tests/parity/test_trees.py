"""Names for the arrays of nested inputs and outputs, and the nests built again."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from parity.trees import Call, call_of, mapped, named


class Pair(NamedTuple):
    first: Any
    rest: Any


def test_leaves_are_named_by_their_place_and_one_alone_is_not() -> None:
    tree = Call((1, [2, {"h": 3.5}]), {"c": (4, Pair(5, "text"))})
    assert named(tree, int) == {"[0]": 1, "[1][0]": 2, "[c][0]": 4, "[c][1][0]": 5}
    assert named(tree, (float, str)) == {"[1][1][h]": 3.5, "[c][1][1]": "text"}
    assert named(tree, float) == {"": 3.5}
    assert list(named(tree)) == ["[0]", "[1][0]", "[1][1][h]", "[c][0]", "[c][1][0]", "[c][1][1]"]
    assert named(7) == {"": 7}
    assert named([]) == {}


def test_a_nest_keeps_its_form_and_its_other_leaves() -> None:
    tree = Call((1, [2, {"h": 3.5}]), {"c": (4, Pair(5, "text"))})

    def shown(name: str, leaf: Any) -> str:
        return f"{name}={leaf}"

    assert mapped(shown, tree, (int, str)) == Call(
        ("[0]=1", ["[1][0]=2", {"h": 3.5}]),
        {"c": ("[c][0]=4", Pair("[c][1][0]=5", "[c][1][1]=text"))},
    )
    assert mapped(shown, tree, float).args[1] == [2, {"h": "=3.5"}]
    assert type(mapped(shown, tree, int).kwargs["c"][1]) is Pair
    assert mapped(shown, "alone", str) == "=alone"


def test_a_tuple_gives_positions_a_dict_keywords_and_the_rest_is_one_argument() -> None:
    x = np.zeros(2)
    assert call_of((1, x)) == Call((1, x), {})
    assert call_of({"a": 1}) == Call((), {"a": 1})
    assert call_of([1, 2]) == Call(([1, 2],), {})
    assert call_of(Pair(1, 2)) == Call((Pair(1, 2),), {})
    assert call_of(x) == Call((x,), {})
    call = Call((1,), {"b": 2})
    assert call_of(call) is call
