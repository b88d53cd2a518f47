"""Maps of names and layouts: everything named follows them, and a wrong one is refused."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from parity import (
    DisagreementError,
    ParityError,
    assert_parity,
    split,
    summed,
    to_numpy,
    to_torch,
)
from parity.proposals import proposals
from tests.parity.renamed import TWO, Dense, TorchTwo, Two


def test_numbered_and_transposed_parameters(rng) -> None:
    assert_parity(TorchTwo(), Two(), rng.standard_normal((5, 4)), names=TWO)


def test_a_square_matrix_that_is_not_transposed_is_told(rng) -> None:
    wrong = {**TWO, "fc1.weight": "W1"}  # no shape can tell
    with pytest.raises(DisagreementError) as caught:
        assert_parity(TorchTwo(), Two(), rng.standard_normal((5, 4)), names=wrong)
    assert caught.value.culprits == ["fc1"]


def test_the_culprit_has_torchs_name(rng) -> None:
    class Wrong(Dense):
        def backward(self, dy):
            dx = super().backward(dy)
            self.db = self.db * 1.01
            return dx

    with pytest.raises(DisagreementError) as caught:
        assert_parity(TorchTwo(), Two(Wrong), rng.standard_normal((5, 4)), names=TWO)
    assert caught.value.culprits == ["fc2"]
    assert "gradient of bias" in str(caught.value).splitlines()[0]


def test_a_gradient_in_another_layout_than_its_parameter_is_told(rng) -> None:
    module, network = nn.Sequential(nn.Linear(4, 4)), Dense(4, 4, transposed_gradient=True)
    with pytest.raises(DisagreementError, match="gradient of weight"):
        assert_parity(
            module,
            network,
            rng.standard_normal((5, 4)),
            names={"0.weight": ("W", "T"), "0.bias": "b"},
        )


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        self.out.weight = self.into.weight

    def forward(self, x):
        return self.out(torch.tanh(self.into(x)))


class OneMatrix(Dense):
    """y = tanh(x·W)·W."""

    def forward(self, x):
        self.x, self.h = x, np.tanh(x @ self.W)
        return self.h @ self.W

    def backward(self, dy):
        da = (dy @ self.W.T) * (1 - self.h**2)
        self.dW = self.x.T @ da + self.h.T @ dy
        return da @ self.W.T

    def parameters(self):
        return {"W": self.W}

    def gradients(self):
        return {"W": self.dW}


@pytest.mark.parametrize("tied", [["into"], ["out"], ["into", "out"]], ids=str)
def test_tied_parameters_may_be_named_once_or_twice(tied, rng) -> None:
    names = {f"{layer}.weight": ("W", "T") for layer in tied}
    assert_parity(Tied(), OneMatrix(4, 4), rng.standard_normal((5, 4)), names=names)


class Bag:
    """Parameters and gradients by name, and nothing that computes."""

    def __init__(self, **shapes) -> None:
        self.held = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}

    def parameters(self):
        return self.held

    gradients = parameters

    def buffers(self):
        return {}


def test_every_layout_goes_there_and_back() -> None:
    module = nn.ModuleDict(
        {
            "attn": nn.MultiheadAttention(6, 2),
            "conv": nn.Conv2d(2, 3, (4, 5)),
            "flipped": nn.Conv2d(2, 3, 4),
            "bn": nn.BatchNorm1d(3),
        }
    )
    bag = Bag(
        Wq=(6, 6),
        Wk=(2, 3, 6),
        Wv=(6, 6),
        bqkv=(18,),
        Wo=(6, 6),
        bo=(6,),
        kernel=(4, 5, 2, 3),
        flipped=(3, 2, 4, 4),
        **{f"{name}.bias": (3,) for name in ("conv", "flipped", "bn")},
        **{f"bn.{name}": (3,) for name in ("weight", "running_mean", "running_var")},
    )
    names = {
        "attn.in_proj_weight": split(("Wq", "T"), ("Wk", lambda w: w.reshape(2, 3, 6)), "Wv"),
        "attn.in_proj_bias": "bqkv",
        "attn.out_proj.weight": ("Wo", "T"),
        "attn.out_proj.bias": "bo",
        "conv.weight": ("kernel", "OIHW->HWIO"),
        "flipped.weight": ("flipped", lambda w: w[:, :, ::-1, ::-1]),
        "bn.num_batches_tracked": None,
    }
    to_numpy(module, bag, names)
    weight = module.get_parameter("attn.in_proj_weight").detach().numpy()
    np.testing.assert_array_equal(bag.held["Wq"], weight[:6].T)
    np.testing.assert_array_equal(bag.held["Wv"], weight[12:])
    kernel = module.get_parameter("conv.weight").detach().numpy()
    np.testing.assert_array_equal(bag.held["kernel"], kernel.transpose(2, 3, 1, 0))
    other = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    to_torch(bag, other, names)
    for name, value in module.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"fc1.wieght": "W1"}, "does not have: did you mean fc1.weight?"),
        ({"fc1.weight": "W9"}, "has fc1.weight as W9, and Two has only W1, b1, W2, b2"),
        ({"fc1.weight": ("W1", "OIHW->HWIO")}, r"of shape \(4, 4\): OIHW->HWIO is for 4 axes"),
        ({"fc1.weight": ("W1", "OI->IX")}, "'OI->IX' is no order"),
        ({"fc1.weight": ("W1", lambda w: w[:2])}, "every element of fc1.weight one place"),
        ({"fc1.weight": ("W1", lambda w: 0 * w)}, "every element of fc1.weight one place"),
        ({("fc1.bias", "fc2.bias"): "b1"}, "must say fused"),
        ({("fc1.bias", "fc2.bias"): summed("b1")}, "every element of fc1.bias and fc2.bias"),
        ({"fc1.bias": "b1", "fc2.bias": "b1"}, "gives b1 to both fc1.bias and fc2.bias"),
        ({"fc1.bias": None}, "only a buffer may have none"),
        ({**TWO, "fc2.weight": "W2"}, r"W2 of shape \(3, 4\), and W2 has shape \(4, 3\)"),
        (None, r'names={"fc1.weight": "W1", "fc1.bias": "b1", "fc2.weight": \("W2", "T"\), "fc2'),
        ({"fc1.weight": ("W1", "T")}, r'order it could be names={"fc1.bias": "b1", "fc2.weight"'),
    ],
)
def test_a_map_that_does_not_fit_is_one_sentence(names, message, rng) -> None:
    with pytest.raises(ParityError, match=message) as caught:
        assert_parity(TorchTwo(), Two(), rng.standard_normal((5, 4)), names=names)
    assert "\n" not in str(caught.value)


def test_what_is_left_over_is_not_overwritten() -> None:
    module, bag = nn.Sequential(nn.Linear(2, 2, bias=False)), Bag(W=(2, 2), **{"0.weight": (2, 2)})
    with pytest.raises(ParityError, match=r"0\.weight is there twice"):
        to_numpy(module, bag, {"0.weight": "W"})


def test_copies_are_told_through_a_map() -> None:
    class Copying(Bag):
        def parameters(self):
            return copy.deepcopy(self.held)

    with pytest.raises(ParityError, match="Copying did not keep what was transferred into W"):
        to_numpy(nn.Linear(2, 2, bias=False), Copying(W=(2, 2)), {"weight": "W"})


@pytest.mark.parametrize(
    ("torch", "other", "expected"),
    [
        (
            {"in.weight": (12, 4), "in.bias": (12,), "out.weight": (4, 4), "out.bias": (4,)},
            {f"{kind}{n}": (4, 4) if kind == "W" else (4,) for kind in "Wb" for n in "qkvo"},
            [
                '"in.weight": split("Wq", "Wk", "Wv")',
                '"in.bias": split("bq", "bk", "bv")',
                '"out.weight": "Wo"',
                '"out.bias": "bo"',
            ],
        ),
        ({"k": (6, 3)}, {"a": (3, 2), "b": (3, 4)}, ['"k": split(("a", "T"), ("b", "T"))']),
        ({"ih": (8, 3), "hh": (8, 2)}, {"W": (5, 8)}, ['("ih", "hh"): fused("W", "T", axis=1)']),
        ({"k": (6, 3)}, {"a": (2, 3), "b": (3, 3)}, []),
    ],
)
def test_what_nothing_fits_alone_is_proposed_in_parts(torch, other, expected) -> None:
    assert list(proposals(torch, other)) == expected
