"""Which of NumPy's arrays stands for which of torch's, where names, ties and layouts differ."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from numpy_models import BatchNorm2d, Linear
from parity import Pair, ParityError, fused, split, summed, to_numpy, to_torch
from parity.departures import applied
from parity.names import resolve
from parity.proposals import proposals
from parity.transfer import Renamed, assign, comparable, renamed, tied, to_array, untied, unwrapped
from tests.parity.renamed import TWO, TorchTwo, Two


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(2, 2, bias=False) for _ in range(3))
        self.b.weight = self.a.weight
        self.register_buffer("x", torch.zeros(2))
        self.register_buffer("y", self.x)


def test_tied_tensors_are_read_under_the_first_name() -> None:
    assert tied(Tied()) == [["x", "y"], ["a.weight", "b.weight"]]
    assert tied(nn.Linear(2, 2)) == []
    one, two, grad = np.array([1.0, 4.0]), np.array([2.0, 5.0]), "gradient of weight"
    found = untied({("b", grad): one, ("c", grad): two}, Tied())
    assert found == {("a", grad): one, ("c", grad): two}
    found = untied({("a", grad): one, ("b", grad): two, ("", "y"): two, ("", "x"): one}, Tied())
    assert found.keys() == {("a", grad), ("", "x")}
    np.testing.assert_array_equal(found["a", grad], one + two, strict=True)  # shares of it
    assert found["", "x"] is one
    same = untied({("a", grad): one, ("b", grad): one.copy()}, Tied())
    np.testing.assert_array_equal(same["a", grad], one, strict=True)


def test_what_a_side_says_it_lacks_is_not_compared() -> None:
    own = {
        place: np.zeros(1)
        for place in (("", "output"), ("", "output[1]"), ("", "loss"), ("bn", "count"), ("", "w"))
    }

    class Side:
        absent = frozenset({"bn.count"})

    assert list(comparable(own, object())) == list(own)
    assert comparable(own, Side()).keys() == own.keys() - {("bn", "count")}
    side: Any = Side()
    side.frozen = True
    assert [tensor for _, tensor in comparable(own, side)] == ["output", "output[1]", "loss"]


class Bag:
    """Arrays by name."""

    def __init__(self, buffers: dict[str, Any] | None = None, **arrays: Any) -> None:
        self.arrays, self.held = arrays, buffers or {}

    def parameters(self) -> dict[str, Any]:
        return self.arrays

    gradients = parameters

    def buffers(self) -> dict[str, Any]:
        return self.held


F32 = np.float32


@pytest.mark.parametrize(
    ("module", "bag", "sentence"),
    [
        (
            nn.Linear(2, 1, bias=False),
            Bag(weight=[1, 2]),
            "torch's Linear and NumPy's Bag do not match: weight is a list in NumPy, not an array",
        ),
        (
            nn.Linear(2, 1),
            Bag(weight=np.zeros((1, 2)), W=np.zeros(3, F32), b=np.zeros(1, F32)),
            "torch's Linear and NumPy's Bag do not match: bias is only in torch; W is only in "
            "NumPy; b is only in NumPy; weight has dtype float32 in torch and float64 in NumPy; by "
            'shape and order it could be names={"bias": "b"}',
        ),
        (
            nn.Linear(2, 1, bias=False),
            Bag(weight=np.zeros((2, 1), F32)),
            "torch's Linear and NumPy's Bag do not match: weight has shape (1, 2) in torch and "
            '(2, 1) in NumPy; by shape and order it could be names={"weight": ("weight", "T")}',
        ),
        (
            Tied(),
            Bag({"x": np.zeros(2, F32)}, **{"c.weight": np.zeros((2, 2), F32)}),
            "torch's Tied and NumPy's Bag do not match: a.weight is only in torch; b.weight is "
            "only in torch",
        ),
    ],
)
def test_what_does_not_match_is_one_sentence(module, bag, sentence) -> None:
    for transfer in (lambda: to_numpy(module, bag), lambda: to_torch(bag, module)):
        with pytest.raises(ParityError) as caught:
            transfer()
        assert str(caught.value) == sentence


def test_of_tied_tensors_one_is_enough_and_both_are_filled() -> None:
    module = Tied()
    w = module.a.weight.detach().numpy()
    for names in (["a.weight"], ["b.weight"], ["a.weight", "b.weight"]):
        for buffers in (["x"], ["x", "y"]):
            arrays = {name: np.zeros((2, 2), F32) for name in [*names, "c.weight"]}
            bag = Bag({name: np.ones(2, F32) for name in buffers}, **arrays)
            to_numpy(module, bag)
            assert all((arrays[name] == w).all() for name in names)
            assert all((bag.held[name] == 0).all() for name in buffers)
    to_torch(Bag({"y": np.full(2, 5, F32)}, **arrays), module)
    assert module.x.tolist() == [5, 5]


def test_copies_are_told_and_nan_is_kept() -> None:
    bag = Bag(weight=np.zeros(2))
    assign(bag, {"weight": np.array([np.nan, 1.0])})
    assert bag.arrays["weight"][1] == 1

    class Copying(Bag):
        def buffers(self) -> dict[str, Any]:
            return copy.deepcopy(self.held)

    with pytest.raises(ParityError) as caught:
        assign(Copying({"count": np.zeros(1)}), {"count": np.ones(1)})
    assert str(caught.value) == (
        "Copying did not keep what was transferred into count: parameters() and buffers() must "
        "give the arrays themselves, not copies"
    )


def test_a_sum_gives_its_summands_back_and_moves_as_the_first() -> None:
    module = nn.LSTM(1, 1)
    names = {
        ("bias_ih_l0", "bias_hh_l0"): summed("b"),
        ("weight_ih_l0", "weight_hh_l0"): fused("W", axis=1),
    }
    bag = Bag(b=np.zeros(4, F32), W=np.zeros((4, 2), F32))
    side = renamed(module, bag, names)
    assert type(side).__name__ == "Bag"
    assert unwrapped(side) is bag
    assert unwrapped(bag) is bag
    assert side.absent == frozenset()
    to_numpy(module, side)
    state = {name: value.numpy() for name, value in module.state_dict().items()}
    for name, value in side.parameters().items():
        np.testing.assert_array_equal(value, state[name])
    bag.arrays["b"] += 1
    moved = side.parameters()
    np.testing.assert_allclose(moved["bias_ih_l0"], state["bias_ih_l0"] + 1, rtol=1e-6)
    np.testing.assert_array_equal(moved["bias_hh_l0"], state["bias_hh_l0"])
    state["bias_hh_l0"][...] = 99  # what was assigned is kept as a copy
    assert (side.parameters()["bias_hh_l0"] != 99).all()
    assert set(side.states({"b": np.ones(4)})) == {"bias_ih_l0", "bias_hh_l0"}
    assert renamed(module, bag, None) is bag
    assert renamed(module, bag, {}) is bag


def test_joined_and_added_along_the_first_axis_unless_another_is_said() -> None:
    module = nn.ModuleDict({"l": nn.LSTM(4, 4)})
    entries = {
        ("l.weight_ih_l0", "l.weight_hh_l0"): fused("W"),
        ("l.bias_ih_l0", "l.bias_hh_l0"): summed("b"),
    }
    names = resolve(entries, module)
    assert {n: order.shape for rule in names.rules for n, order in rule.order.items()} == {
        "W": (32, 4),
        "b": (16,),
    }
    inner = names.part("l", {"W": "W", "b": "c"})
    assert [(list(rule.order), rule.adds) for rule in inner.rules] == [
        (["W"], False),
        (["c"], True),
    ]


def test_layers_that_are_passed_are_seen_under_torchs_names_too() -> None:
    network = Two()
    layers = {"fc1": network.first, "tanh": object()}
    setting = Pair(TorchTwo(), network, np.ones((2, 4)), names=TWO, layers=layers).setting()
    assert setting.layers is not None
    assert setting.layers["fc1"].parameters().keys() == {"weight", "bias"}
    assert setting.layers["tanh"] is layers["tanh"]


def test_a_layer_is_known_by_its_arrays_or_by_the_ends_of_their_names() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3), nn.Linear(3, 3))
    layers = [Linear(*sizes) for sizes in ((2, 2), (2, 3), (3, 3))]
    shared = {f"W{i}": layer.parameters()["weight"] for i, layer in enumerate(layers[:2])}
    shared |= {f"b{i}": layer.parameters()["bias"] for i, layer in enumerate(layers[:2])}
    bag: Any = Bag(**shared, **{"last.V": np.zeros((3, 3), F32), "2.bias": np.zeros(3, F32)})
    copies = Bag(V=np.ones((3, 3), F32))
    bag.layers = {"0": layers[0], "1": layers[1], "2": copies}
    bag.first = layers[1]
    names = {f"{i}.weight": f"W{i}" for i in range(2)} | {f"{i}.bias": f"b{i}" for i in range(2)}
    side = renamed(module, bag, {**names, "2.weight": ("last.V", "T")})
    assert isinstance(side, Renamed)
    for name in ("0", "1"):
        assert side.layers[name].parameters().keys() == {"weight", "bias"}
        assert side.layers[name].wrapped is bag.layers[name]
    np.testing.assert_array_equal(side.layers["2"].parameters()["weight"], np.ones((3, 3)))
    assert side.first is bag.first  # the map has nothing to say of a layer of this name
    twin = copy.deepcopy(side)
    assert twin.wrapped is not bag
    with pytest.raises(AttributeError):
        _ = side.missing
    with pytest.raises(ParityError) as caught:
        renamed(module, bag, {"0.weight": "W0", "0.bias": "B0"})
    assert str(caught.value) == (
        "names= has 0.bias as B0, and Bag has only W0, W1, b0, b1, last.V, 2.bias"
    )


def test_tensors_are_arrays_and_all_else_is_as_it_is() -> None:
    x = torch.arange(3.0, requires_grad=True)
    np.testing.assert_array_equal(to_array(x), np.arange(3, dtype=F32), strict=True)
    for value in (None, "text", np.zeros(2)):
        assert to_array(value) is value
    with pytest.raises(ParityError) as caught:
        to_array(torch.ones(1, dtype=torch.bfloat16))
    assert str(caught.value) == (
        "NumPy cannot hold a tensor of torch.bfloat16: give one of torch.float32 or torch.float64"
    )


@pytest.mark.parametrize(
    ("ours", "other", "expected"),
    [
        ({"w": (5, 3, 2)}, {"V": (2, 3, 5)}, ['"w": ("V", "OIW->WIO")']),
        ({"w": (3, 4, 2)}, {"V": (3, 2, 4)}, ['"w": ("V", "OIW->OWI")']),
        ({"w": (6, 2, 5, 4)}, {"V": (6, 5, 4, 2)}, ['"w": ("V", "OIHW->OHWI")']),
        ({"w": (6, 2, 5, 4)}, {"V": (4, 5, 2, 6)}, ['"w": ("V", "OIHW->WHIO")']),
        ({"w": (7, 6, 3, 4, 5)}, {"V": (3, 4, 5, 6, 7)}, ['"w": ("V", "OIDHW->DHWIO")']),
        ({"w": (7, 6, 3, 4, 5)}, {"V": (7, 3, 4, 5, 6)}, ['"w": ("V", "OIDHW->ODHWI")']),
        ({"w": (3, 3, 3)}, {"V": (3, 3, 3)}, ['"w": "V"']),
        ({"w": (4, 4)}, {"w": (4, 4), "V": (4, 4)}, ['"w": "w"']),
        ({"a": (2,), "b": (3,)}, {"ab": (5,)}, ['("a", "b"): fused("ab")']),
        ({"w": (4, 6)}, {"p": (6, 1), "q": (6, 3)}, ['"w": split(("p", "T"), ("q", "T"))']),
        ({"w": (6, 4)}, {"p": (1, 6), "q": (3, 6)}, ['"w": split(("p", "T"), ("q", "T"), axis=1)']),
        ({"a": (2, 3), "b": (4, 3), "c": (9,)}, {"W": (3, 6)}, ['("a", "b"): fused("W", "T")']),
        ({"w": (6,)}, {"x": (1,), "a": (2,), "b": (4,), "c": (6, 1)}, ['"w": split("a", "b")']),
        ({"w": (6, 2, 3)}, {"V": (6, 2, 4)}, []),
        ({"a": (2,), "b": (3,), "c": (5,)}, {"W": (5,)}, ['"c": "W"']),
        ({"W": (5,)}, {"a": (2,), "b": (3,), "c": (5,)}, ['"W": "c"']),
        ({"w": (2, 2, 2, 2, 2, 4)}, {"V": (4, 2, 2, 2, 2, 2)}, []),
    ],
)
def test_common_layouts_are_proposed_first(ours, other, expected) -> None:
    assert list(proposals(ours, other)) == expected


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            {"0.wieght": "W"},
            "names= has 0.wieght, which torch's module does not have: did you mean 0.weight?",
        ),
        ({"0.weight": 7}, "names= needs a name for 0.weight, not an int"),
        (
            {("0.weight", "0.bias"): "W"},
            "names= must say fused(…) or summed(…) for 0.weight and 0.bias",
        ),
        (
            {("0.weight", "0.bias"): fused("W")},
            "names= does not fit 0.weight and 0.bias of shape (3, 2), (3,): all the input array",
        ),
        (
            {"0.weight": split("a", "b", sizes=(1, 1))},
            "names= does not fit 0.weight of shape (3, 2): split: sizes=[1, 1] add up to 2, and "
            "the axis has 3",
        ),
        (
            {"0.weight": split("a", "b", sizes=(1, 1, 1))},
            "names= does not fit 0.weight of shape (3, 2): zip() argument 2 is shorter than argu",
        ),
        (
            {"0.weight": ("W", "OI-IO")},
            "names= does not fit 0.weight of shape (3, 2): 'OI-IO' is no order: write the same "
            "letters on both sides, as in 'OIHW->HWIO'",
        ),
        (
            {"0.weight": ("W", "OO->OO")},
            "names= does not fit 0.weight of shape (3, 2): 'OO->OO' is no order: write the same",
        ),
    ],
)
def test_an_entry_that_does_not_fit_is_one_sentence(names, sentence) -> None:
    with pytest.raises(ParityError) as caught:
        resolve(names, nn.Sequential(nn.Linear(2, 3)))
    assert str(caught.value).startswith(sentence)


def test_a_layout_alone_keeps_the_name() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    names = resolve({"0.weight": np.flip, "1.num_batches_tracked": None}, module)
    weight = module[0].weight.detach().numpy()
    state = {"0.weight": weight, "1.num_batches_tracked": np.zeros(()), "0.bias": weight[0]}
    other = names.to_other(state)
    assert other.keys() == {"0.weight", "0.bias"}
    np.testing.assert_array_equal(other["0.weight"], np.flip(weight))
    assert names.absent == {"1.num_batches_tracked"}
    with pytest.raises(ParityError) as caught:
        names.to_torch({"0.weight": weight.T})
    assert str(caught.value) == (
        "names= has 0.weight as 0.weight of shape (3, 2), and 0.weight has shape (2, 3)"
    )


def test_a_variance_that_is_meant_to_be_biased_averages_the_one_divided_by_n() -> None:
    module, x = nn.Sequential(nn.BatchNorm1d(2, momentum=0.25)).double(), torch.randn(5, 2).double()
    for train in (True, False):
        module.train(train)
        before = module[0].running_var.clone()
        with applied(module, {"0.running_var": "biased", "gradient of input": "absent"}):
            module(x)
        after = 0.75 * before + 0.25 * x.var(0, unbiased=False) if train else before
        torch.testing.assert_close(module[0].running_var, after, rtol=1e-12, atol=0)
    before = module[0].running_var.clone()
    module.train()(x)
    torch.testing.assert_close(module[0].running_var, 0.75 * before + 0.25 * x.var(0))
    assert BatchNorm2d(2).parameters().keys() == {"weight", "bias"}
