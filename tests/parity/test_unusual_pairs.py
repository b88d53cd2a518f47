"""Sides that stop giving what they gave, cannot be copied or run: each is told in a sentence."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import numpy_models
from numpy_models import Linear, Sequential, Tanh
from parity import DisagreementError, ParityError, assert_parity, fused, split, summed
from parity.names import gates, laid_out, resolve
from parity.proposals import proposals
from tests.parity.renamed import Dense


def inputs() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)


def two() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3))


class Unsteady(Sequential):
    """A network that is right until its forward or backward has run so often."""

    def __init__(self, method: str, good: int) -> None:
        super().__init__(Linear(4, 4), Tanh(), Linear(4, 3))
        self.method, self.left = method, good

    def forward(self, x):
        self.left -= self.method == "forward"
        if self.method == "forward" and self.left < 0:
            raise FloatingPointError("worn out")
        return super().forward(x)

    def backward(self, dy, input_gradient=True):
        self.left -= self.method == "backward"
        dx = super().backward(dy, input_gradient)
        return dx if self.left >= 0 else None


@pytest.mark.parametrize(
    ("method", "words"), [("forward", "worn out"), ("backward", "gradient of input")]
)
def test_what_goes_well_the_first_time_only_is_noticed(method, words) -> None:
    for good in range(5):
        with pytest.raises(DisagreementError, match=words):
            assert_parity(two(), Unsteady(method, good), inputs())


def test_gradients_too_large_to_be_scaled_are_no_disagreement() -> None:
    """1024 times the upstream gradient overflows in float32 what it makes of such inputs."""
    comparison = assert_parity(nn.Linear(4, 3), Linear(4, 3), inputs() * 1e36, vary=False)
    assert comparison.passed


class Branching(nn.Module):
    """What is done depends on the last bit."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (torch.relu(x) if torch.equal(x, x.round()) else x) * 1.5


def test_a_module_that_branches_on_rounding_has_no_reference() -> None:
    module = nn.Sequential(Branching(), nn.Linear(4, 3))
    with pytest.raises(ParityError, match="performs different operations when its operands move"):
        assert_parity(
            module, Linear(4, 3), inputs().round(), names={"1.weight": "weight", "1.bias": "bias"}
        )


class Aloof(nn.Module):
    """An output that does not depend on the input, or not on a parameter."""

    def __init__(self, of: str) -> None:
        super().__init__()
        self.line, self.w, self.of = nn.Linear(4, 3), nn.Parameter(torch.ones(3)), of

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.of == "x":
            return self.line(torch.ones_like(x)) + self.w
        if self.of == "w":
            return self.line(x)
        if self.of == "complex":
            return torch.complex(self.line(x), self.w.expand(len(x), 3))
        if self.of == "detached":
            return self.line(x).detach()
        if self.of == "random":
            return self.line(x) + torch.rand(3) * self.w
        if self.of == "text":
            return "text"  # type: ignore[return-value]
        raise ValueError("a reason\nin two lines")


class Anything:
    """A NumPy side with Aloof's parameters that is not asked to compute."""

    def __init__(self) -> None:
        shapes = {"w": (3,), "line.weight": (3, 4), "line.bias": (3,)}
        self.held = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}

    def forward(self, x):
        return np.zeros((len(x), 3), np.float32)

    def backward(self, dy):
        return np.zeros((len(dy), 4), np.float32)

    def parameters(self):
        return self.held

    def gradients(self):
        return self.held

    def buffers(self):
        return {}


@pytest.mark.parametrize(
    ("of", "words"),
    [
        ("x", "torch gives no gradient for its input: the output does not depend on it"),
        ("w", "torch gives no gradient for w: the output does not depend on it"),
        ("complex", "torch's Aloof returns complex numbers"),
        ("detached", "torch's Aloof gives an output without a gradient"),
        ("random", "torch's Aloof gives another output each time it is run"),
        ("text", "torch's Aloof returns a str"),
        ("-", r"torch's Aloof cannot run on inputs of shape \(5, 4\)( in float64)?: a reason$"),
    ],
)
def test_what_torch_cannot_be_compared_on(of, words) -> None:
    with pytest.raises(ParityError, match=words) as caught:
        assert_parity(Aloof(of), Anything(), inputs())
    assert "\n" not in str(caught.value)


class Uncopyable(nn.Linear):
    def __deepcopy__(self, memo):
        raise TypeError("held by a lock")


def test_a_module_that_cannot_be_copied_is_not_run() -> None:
    with pytest.raises(ParityError, match=r"Uncopyable cannot be copied, and .* held by a lock"):
        assert_parity(Uncopyable(4, 3), Linear(4, 3), inputs())


@pytest.mark.parametrize(
    ("method", "returned", "words"),
    [
        ("forward", None, r"Wrong\.forward must return an array, and returns a NoneType"),
        ("forward", "text", r"Wrong\.forward must return an array, and returns a str"),
        ("backward", 3, r"Wrong\.backward must return an array, and returns an int"),
        ("gradients", {"weight": None, "bias": np.zeros(3)}, r"has None for weight"),
        ("gradients", [], r"Wrong\.gradients\(\) must return a dict of arrays"),
    ],
)
def test_what_numpy_cannot_be_compared_on(method, returned, words) -> None:
    wrong = type("Wrong", (Linear,), {method: lambda self, *_: returned})
    with pytest.raises(ParityError, match=words):
        assert_parity(nn.Linear(4, 3), wrong(4, 3), inputs())


class SilentLoss(numpy_models.CrossEntropyLoss):
    def backward(self):
        return None


@pytest.mark.parametrize(
    ("torch_loss", "numpy_loss", "targets", "words"),
    [
        (nn.CrossEntropyLoss(), SilentLoss(), np.arange(5) % 3, "SilentLoss.backward must return"),
        (nn.MSELoss(reduction="x"), numpy_models.MSELoss(), np.zeros((5, 3), np.float32), "loss"),
        (
            nn.CrossEntropyLoss(),
            numpy_models.CrossEntropyLoss(),
            np.arange(4) % 3,
            r"torch's loss cannot take outputs of shape \(5, 3\) with targets of shape \(4,\)",
        ),
        (nn.CrossEntropyLoss(), numpy_models.CrossEntropyLoss(), None, "a loss needs targets"),
    ],
)
def test_losses_that_cannot_be_compared(torch_loss, numpy_loss, targets, words) -> None:
    losses = {"torch_criterion": torch_loss, "numpy_criterion": numpy_loss}
    with pytest.raises(ParityError, match=words):
        assert_parity(nn.Linear(4, 3), Linear(4, 3), inputs(), targets, **losses)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"0.weight": ("W", "T", "T", "OIH->HIO")}, "OIH->HIO is for 3 axes, not for 2"),
        ({"0.bias": ("b", "T")}, "T is for matrices, not for 1 axes"),
        ({"0.bias": (7, "T")}, r"needs a name for 0\.bias, not an int"),
        ({"0.weight": None}, r"no counterpart for 0\.weight: only a buffer"),
        ({("0.weight", "0.bias"): ("W",)}, "must say fused"),
        ({"9.weight": "W"}, r"names= has 9\.weight, which torch's module does not have: did you"),
        ({"zzzzzz": "W"}, "which torch's module does not have$"),
        ({"0.weight": fused("W", "OI->IO"), "2.weight": "W"}, "gives W to both"),
        ({("0.bias", "2.bias"): summed("b")}, "every element of 0.bias and 2.bias one place"),
        ({"0.weight": split("a", "b", "c")}, r"does not fit 0\.weight of shape \(4, 4\)"),
    ],
)
def test_entries_of_a_map_that_do_not_fit(entry, words) -> None:
    with pytest.raises(ParityError, match=words):
        resolve(entry, two())


def test_layouts_are_what_they_say() -> None:
    w = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(laid_out(w, ["ABC->CAB"]), w.transpose(2, 0, 1))
    np.testing.assert_array_equal(laid_out(w[0], ["T", "T", lambda a: a[::-1]]), w[0][::-1])
    blocks = np.arange(8).reshape(8, 1)
    np.testing.assert_array_equal(gates("ifgo->iofg")(blocks).ravel(), [0, 1, 6, 7, 2, 3, 4, 5])
    np.testing.assert_array_equal(gates("ab->ba", axis=1)(blocks.T)[0], [4, 5, 6, 7, 0, 1, 2, 3])


def test_maps_go_there_and_back_through_sums_joins_and_parts() -> None:
    module = nn.LSTM(3, 4)
    state = {name: value.detach().numpy() for name, value in module.state_dict().items()}
    names = resolve(
        {
            ("weight_ih_l0", "weight_hh_l0"): fused("W", "T", axis=1),
            ("bias_ih_l0", "bias_hh_l0"): summed("b"),
        },
        module,
    )
    other = names.to_other(state)
    both = np.concatenate([state["weight_ih_l0"], state["weight_hh_l0"]], 1)
    np.testing.assert_array_equal(other["W"], both.T)
    np.testing.assert_array_equal(other["b"], state["bias_ih_l0"] + state["bias_hh_l0"])
    back = names.to_torch({"W": other["W"], "b": other["b"], "more": other["b"]})
    for name in ("weight_ih_l0", "weight_hh_l0"):
        np.testing.assert_array_equal(back[name], state[name])
    for name in ("bias_ih_l0", "bias_hh_l0", "more"):
        np.testing.assert_array_equal(back[name], other["b"])
    assert names.to_torch({"W": None, "b": other["b"]})["weight_hh_l0"] is None
    assert "weight_ih_l0" not in names.to_torch({"b": other["b"]})
    assert names.to_other({"bias_ih_l0": state["bias_ih_l0"]}) == {}  # half of a sum is none
    module.bias_hh_l0.requires_grad_(False)
    fixed = resolve({("bias_ih_l0", "bias_hh_l0"): summed("b")}, module)
    assert fixed.gradients({"b": other["b"]}).keys() == {"bias_ih_l0"}


def test_a_layers_part_of_a_map() -> None:
    module = nn.ModuleDict({"bn": nn.BatchNorm1d(3), "fc": nn.Linear(4, 3)})
    entries = {"bn.num_batches_tracked": None, "fc.weight": ("W", "T"), "bn.weight": "gamma"}
    names = resolve(entries, module)
    assert [names.concern(layer) for layer in ("bn", "fc", "b", "f", "other")] == [
        *(True, True, False, False, False)
    ]
    inner = names.part("bn", {"gamma": "g"})
    assert inner.absent == {"num_batches_tracked"}
    assert [list(rule.shapes) for rule in inner.rules] == [["weight"]]
    assert list(inner.rules[0].order) == ["g"]
    assert names.part("bn", {}).rules == []


@pytest.mark.parametrize(
    ("torch_side", "other", "expected"),
    [
        ({"w": (3, 4)}, {"V": (4, 3)}, ['"w": ("V", "T")']),
        ({"w": (3, 3)}, {"V": (3, 3)}, ['"w": "V"']),
        ({"w": (6, 2, 5, 4)}, {"V": (5, 4, 2, 6)}, ['"w": ("V", "OIHW->HWIO")']),
        ({"a": (2,), "b": (2,)}, {"b": (2,), "c": (2,)}, ['"a": "b"', '"b": "c"']),
        ({"a": (2,), "b": (5,)}, {"x": (9,)}, []),
        ({"w": (4, 6)}, {"p": (4, 2), "q": (4, 4)}, ['"w": split("p", "q", axis=1)']),
        ({"w": (4, 6)}, {"q": (4, 4), "x": (7,), "p": (4, 2)}, []),  # not next to each other
    ],
)
def test_what_is_left_over_is_proposed_by_shape_and_order(torch_side, other, expected) -> None:
    assert list(proposals(torch_side, other)) == expected


def test_a_square_matrix_transposed_is_found_through_an_alias() -> None:
    names = {"weight": ("W", "T"), "bias": "b"}
    assert_parity(nn.Linear(4, 4), Dense(4, 4), inputs().astype(np.float64), names=names)


def test_a_copy_of_a_jax_function_has_arrays_of_its_own() -> None:
    jax = pytest.importorskip("jax", reason="needs jax, of the extra 'jax'")
    from parity.sides import JaxFunction

    def network(p, x):
        return jax.numpy.tanh(dense(p["fc"], x))

    def dense(p, x):
        return x @ p["W"] + p["b"]

    tree = {"fc": {"W": np.ones((4, 3)), "b": np.zeros(3)}}
    side = JaxFunction(network, tree, layers={"fc": dense})
    twin = copy.deepcopy(side)
    assert twin.layers["fc"].parameters()["W"] is twin.parameters()["fc.W"]
    twin.parameters()["fc.W"][...] = 7
    assert (side.parameters()["fc.W"] == 1).all()
    assert (side.layers["fc"].parameters()["W"] == 1).all()
    x = np.full((2, 4), 0.1)
    assert (twin.forward(x) != side.forward(x)).all()
