"""Each ready side by itself: what it is given, what it gives back, what it keeps."""

from __future__ import annotations

import copy
import sys
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from parity import ParityError, shared_masks
from parity.sides import FunctionalOptimizer, Functions, JaxFunction, TorchModule, TorchOptimizer
from parity.sides.functions import subtree

X = np.array([[1.0, -2.0], [3.0, 4.0]])


# torch


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        self.b.weight = self.a.weight
        self.fixed = nn.Parameter(torch.ones(2), requires_grad=False)
        self.register_buffer("count", torch.zeros(1))
        self.register_buffer("passing", torch.zeros(1), persistent=False)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor, z: Tensor | None = None) -> Any:
        self.count += 1
        y = self.b(self.a(x)) * self.fixed
        return y if z is None else {"y": y + z, "most": z.argmax(1)}


def test_a_torch_modules_arrays() -> None:
    module = Tied().double()
    side = TorchModule(module)
    assert side.module is not module
    assert list(side.parameters()) == list(side.gradients()) == ["a.weight"]
    assert list(side.buffers()) == ["fixed", "count"]
    assert side.gradients()["a.weight"] is None
    y = side.forward(X)
    assert side.backward is not None
    dx = side.backward(np.ones((2, 2)))
    w = side.parameters()["a.weight"]
    np.testing.assert_allclose(y, X @ w.T @ w.T)
    np.testing.assert_allclose(dx, np.ones((2, 2)) @ w @ w)
    first = side.gradients()["a.weight"]
    side.forward(X)
    again = side.backward(np.ones((2, 2)))
    np.testing.assert_allclose(again, dx)
    np.testing.assert_allclose(side.gradients()["a.weight"], first)  # set, and not added to
    assert side.buffers()["count"] == 2
    side.assign({"a.weight": np.full((2, 2), 2.0), "count": np.array([7.0])})
    assert (side.parameters()["a.weight"] == 2).all()
    assert side.buffers()["count"] == 7
    assert module.count == 0
    side.eval()
    assert not side.module.drop.training
    side.train()
    assert side.module.drop.training
    assert list(side.layers) == ["a", "b", "drop"]
    assert side.layers["a"].module is side.module.a
    assert side.layers["a"].layers == {}
    assert copy.deepcopy(side)._outputs is None


def test_a_torch_modules_gradients_have_the_form_of_its_inputs() -> None:
    side = TorchModule(Tied().double())
    dy = np.array([[1.0, 2.0], [0.0, -1.0]])
    out = side.forward(X, X + 1)
    assert out["most"].tolist() == [0, 1]
    assert side.backward is not None
    two = side.backward({"y": dy, "most": None})
    assert isinstance(two, tuple)
    np.testing.assert_array_equal(two[1], dy)
    side.forward(x=X, z=X + 1)
    by_name = side.backward({"y": dy, "most": None})
    assert by_name.keys() == {"x", "z"}
    np.testing.assert_array_equal(by_name["x"], two[0])
    embedding = TorchModule(nn.Embedding(3, 2))
    embedding.forward(np.array([1, 2]))
    assert embedding.backward is not None
    assert embedding.backward(np.ones((2, 2), np.float32)) is None


def test_a_frozen_torch_module_shows_nothing() -> None:
    side = TorchModule(Tied(), frozen=True)
    assert (side.parameters(), side.gradients(), side.buffers(), side.backward) == (
        {},
        {},
        {},
        None,
    )
    side.forward(X.astype(np.float32))
    assert not side._outputs.requires_grad
    assert not side._inputs.args[0].requires_grad


def test_how_a_torch_module_is_run() -> None:
    seen: list[tuple[Any, ...]] = []

    class Looking(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x)
            last = x.is_contiguous(memory_format=torch.channels_last)
            seen.append((x.dtype, y.dtype, last, torch.is_autocast_enabled("cpu")))
            return y

    images = np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype(np.float32)
    kind = Looking(3, 2, 3)
    for options, dtypes in (
        ({}, (torch.float32, torch.float32, False, False)),
        ({"autocast": torch.bfloat16}, (torch.float32, torch.bfloat16, False, True)),
        ({"autocast": torch.float16}, (torch.float32, torch.float16, False, True)),
        ({"memory_format": torch.channels_last}, (torch.float32, torch.float32, True, False)),
    ):
        side = TorchModule(kind, **options)  # type: ignore[arg-type]
        assert side.forward(images).dtype == np.float32
        assert seen.pop() == dtypes
    weight = side.module.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    half = TorchModule(Looking(3, 2, 3).bfloat16())
    assert half.forward(images).dtype == half.parameters()["weight"].dtype == np.float32
    assert seen.pop()[:2] == (torch.bfloat16, torch.bfloat16)
    assert TorchModule(nn.Linear(2, 2), memory_format=torch.channels_last).forward(
        X.astype(np.float32)
    ).shape == (2, 2)
    compiled = TorchModule(torch.compile(nn.Sequential(nn.Linear(2, 2)), backend="eager"))
    assert list(compiled.parameters()) == ["0.weight", "0.bias"]
    assert list(compiled.layers) == ["0"]
    compiled.assign({"0.bias": np.ones(2)})
    assert compiled.parameters()["0.bias"].tolist() == [1, 1]


def test_an_optimizer_of_torchs_shows_its_states() -> None:
    side = TorchModule(Tied().double())
    optimizer = TorchOptimizer(side, partial(torch.optim.Adam, lr=0.125))
    side.forward(X)
    assert side.backward is not None
    side.backward(np.ones((2, 2)))
    before = side.parameters()["a.weight"]
    optimizer.step()
    assert not np.array_equal(before, side.parameters()["a.weight"])
    state = optimizer.state_dict()
    assert sorted(state) == ["exp_avg.a.weight", "exp_avg_sq.a.weight"]
    np.testing.assert_allclose(state["exp_avg.a.weight"], 0.1 * side.gradients()["a.weight"])
    assert optimizer.lr == 0.125


# Functions


def test_functions_have_their_arrays_by_path_and_are_told_the_mode() -> None:
    modes: list[Any] = []

    def forward(p, x, *, scale=1.0, train):
        modes.append(train)
        return x * p["w"][0] * scale, x

    def backward(p, cache, dy):
        return dy * p["w"][0], {"w": [(dy * cache).sum(0)], "inner": None}

    tree = {"w": [np.array([2.0, 3.0])], "inner": {"b": np.zeros(1)}}
    buffers = {"inner": {"mean": np.zeros(2)}, "count": np.zeros(1)}
    layer = (lambda p, x, train: (modes.append(("layer", train, p)) or x, None)), None
    side = Functions(
        forward,
        backward,
        tree,
        buffers=buffers,
        layers={"inner": layer, "other": (*layer, "w"), "none": (*layer, "w.7")},
    )
    assert list(side.parameters()) == ["w.0", "inner.b"]
    assert list(side.buffers()) == ["inner.mean", "count"]
    assert list(side.gradients()) == []
    np.testing.assert_array_equal(side.forward(X, scale=2.0), X * [4, 6])
    assert side.backward is not None
    np.testing.assert_array_equal(side.backward(X), X * [2, 3])
    np.testing.assert_array_equal(side.gradients()["w.0"], (X * X).sum(0))
    assert list(side.gradients()) == ["w.0"]
    side.eval()
    side.forward(X)
    for name in ("inner", "other", "none"):
        assert side.layers[name].backward is None
        side.layers[name].forward(X)
    assert [each if isinstance(each, bool) else each[:2] for each in modes] == [
        *(True, False),
        *[("layer", False)] * 3,
    ]
    assert [each[2] for each in modes[2:]] == [tree["inner"], tree["w"], {}]
    side.train()
    side.forward(X)
    assert modes[-1] is True
    assert list(side.layers["inner"].parameters()) == ["b"]
    assert list(side.layers["inner"].buffers()) == ["mean"]
    assert list(side.layers["other"].parameters()) == ["0"]
    assert side.layers["other"].buffers() == {}
    ready = TorchModule(nn.Linear(2, 2))
    layers = {"a": ready, "inner": (forward, lambda *_: ("dx", {}))}
    both = Functions(forward, None, tree, layers=layers).layers
    assert both["a"] is ready
    assert both["inner"].backward(X) == "dx"
    assert not hasattr(Functions(forward, None, tree), "layers")
    untold = Functions(lambda p, x: (x, None), None, tree)
    untold.eval()
    assert untold.forward(X) is X


def test_a_path_leads_into_dicts_and_lists() -> None:
    tree = {"a": [{"b": X}, X + 1], "7": X + 2}
    assert subtree(tree, "a.0.b") is X
    assert subtree(tree, "7") is tree["7"]
    for path in ("a.2", "b", "a.x", "a.0.b.c.d", "a.0.c"):
        assert subtree(tree, path) == {}


def test_a_functional_optimizer_writes_into_the_parameters() -> None:
    w = np.array([1.0, 2.0])
    side = Functions(lambda p, x: (x * p["w"], x), lambda p, x, dy: (dy, {"w": dy[0]}), {"w": w})
    side.forward(X)
    assert side.backward is not None
    side.backward(X)

    def update(gradients, state, parameters):
        assert parameters is side.tree
        return {"w": parameters["w"] - gradients["w"]}, {"t": state["t"] + 1}

    optimizer = FunctionalOptimizer(side, update, {"t": 0}, 0.5)
    optimizer.step()
    np.testing.assert_array_equal(w, [0, 4])
    assert optimizer.state_dict() == {"t": 1}
    assert optimizer.lr == 0.5


# JAX


@pytest.fixture
def jax() -> Any:
    return pytest.importorskip("jax", reason="needs jax, of the extra 'jax'")


def test_a_jax_function_of_two_inputs_with_buffers(jax) -> None:
    told: list[bool] = []

    def function(p, state, x, k, z=None, *, train):
        told.append(train)
        y = x * p["w"] + (0 if z is None else z)
        return {"y": y, "k": k + 1}, {"mean": state["mean"] + y.sum(0)}

    tree, buffers = {"w": np.array([2.0, 3.0])}, {"mean": np.zeros(2)}
    side = JaxFunction(function, tree, buffers=buffers)
    assert side.parameters()["w"] is tree["w"]
    out = side.forward(X, np.array([1, 2]))
    np.testing.assert_array_equal(out["y"], X * [2, 3])
    assert out["y"].dtype == np.float64
    np.testing.assert_array_equal(side.buffers()["mean"], (X * [2, 3]).sum(0))
    two = side.backward({"y": X, "k": None})
    assert isinstance(two, tuple)
    np.testing.assert_array_equal(two[0], X * [2, 3])
    assert two[1] is None
    np.testing.assert_array_equal(side.gradients()["w"], (X * X).sum(0))
    side.eval()
    side.forward(X, np.array([1, 2]), z=X)
    by_name = side.backward({"y": X, "k": None})
    assert list(by_name) == ["z"]
    assert told == [True, False]
    twin = copy.deepcopy(side)
    twin.buffers()["mean"][...] = 9
    assert (side.buffers()["mean"] != 9).all()
    ready = TorchModule(nn.Linear(2, 2))
    parts = {"ready": ready, "w": lambda p, x: x * p, "other": (lambda p, x: x * p["w"], "a")}
    nest = {"a": {"w": np.ones(2)}, "w": np.full(2, 5.0)}
    layers = JaxFunction(lambda p, x: x, nest, layers=parts).layers
    assert layers["ready"] is ready
    np.testing.assert_array_equal(layers["w"].forward(X), X * 5)
    np.testing.assert_array_equal(layers["other"].forward(X), X)
    state = {"w": {"mean": np.zeros(2)}}
    kept = JaxFunction(lambda p, s, x: (x, s), nest, buffers=state, layers={"w": lambda *_: None})
    assert list(kept.layers["w"].buffers()) == ["mean"]
    single = JaxFunction(lambda p, x: x * p["w"], {"w": jax.numpy.ones(2, "float32")})
    assert single.forward(X.astype(np.float32)).dtype == np.float32
    dx = single.backward(X.astype(np.float32))
    assert isinstance(dx, np.ndarray)
    assert not jax.config.jax_enable_x64


def test_64_bits_by_the_older_name(jax, monkeypatch) -> None:
    if hasattr(jax, "enable_x64"):
        newer = jax.enable_x64
        monkeypatch.setattr("jax.experimental.enable_x64", lambda: newer(True), raising=False)
        monkeypatch.delattr(jax, "enable_x64")
    side = JaxFunction(lambda p, x: x * p["w"], {"w": np.ones(2)})
    assert side.forward(X).dtype == np.float64
    monkeypatch.setitem(sys.modules, "jax.experimental", None)
    with pytest.raises(ParityError, match=r"jax.experimental is not .*: pip install '.*\[jax\]'"):
        side.forward(X)


# Shared masks


def test_masks_are_drawn_by_seed_and_call_on_both_sides() -> None:
    draw = shared_masks.uniforms(3)
    for call, shape in ((1, (2, 3)), (2, (4,))):
        expected = np.random.default_rng((3, call)).random(shape, np.float32)
        np.testing.assert_array_equal(draw(shape), expected, strict=True)

    def of(seed: int, call: int, shape: tuple[int, ...]) -> np.ndarray:
        return np.random.default_rng((seed, call)).random(shape, np.float32)

    x, images = torch.ones(3, 4, dtype=torch.float64), torch.ones(2, 3, 2, 2)
    functional = nn.functional
    with shared_masks.on_torch(nn.Dropout(0.25), 5):
        one = functional.dropout(x, 0.25)
        two = functional.dropout2d(images, 0.5)
        assert functional.dropout(x, 0.5, training=False) is x
        assert functional.dropout(x, 0) is x
        kept = x.clone()
        assert functional.dropout(kept, 1.0, inplace=True) is kept
        usual = functional.dropout(x)
    np.testing.assert_allclose(one.numpy(), (of(5, 1, (3, 4)) > 0.25) / 0.75, rtol=1e-15)
    mask = (of(5, 2, (2, 3, 1, 1)) > 0.5) * 2
    np.testing.assert_array_equal(two.numpy(), np.broadcast_to(mask, (2, 3, 2, 2)))
    assert two.dtype == torch.float32
    assert not kept.any()
    np.testing.assert_array_equal(usual.numpy(), (of(5, 4, (3, 4)) > 0.5) * 2)
    assert functional.dropout(x, 0.5, True).shape == x.shape  # torch's own again


class Slots:
    __slots__ = ("layers",)

    def __init__(self) -> None:
        self.layers = None


def test_whoever_has_a_draw_is_given_one() -> None:
    class Drawing:
        def draw(self, shape):
            return "own"

        def __init__(self, **inner: Any) -> None:
            self.__dict__.update(inner)

    class Plain:
        def __init__(self, **inner: Any) -> None:
            self.__dict__.update(inner)

    inner, listed, unseen = Drawing(), Drawing(), Drawing()
    network = Plain(a=Drawing(b=inner), layers={"c": Plain(layers={"d": listed})})
    attributes = Plain(a=Drawing(b=inner), other=3)
    wrapped = Plain(wrapped=attributes)
    for given, drawing in (
        (network, [listed]),
        (attributes, [attributes.a, inner]),  # type: ignore[attr-defined]
        (wrapped, [inner]),
        (inner, [inner]),
    ):
        with shared_masks.on_numpy(given, 2):
            first = drawing[0].draw((2,))
            np.testing.assert_array_equal(
                first, np.random.default_rng((2, 1)).random(2, np.float32)
            )
            assert all(not isinstance(each.draw((1,)), str) for each in drawing)
            assert unseen.draw((1,)) == "own"
        assert all(each.draw((1,)) == "own" for each in drawing)
    with shared_masks.on_numpy(slots := Slots(), 2):
        assert slots.layers is None
    module = TorchModule(nn.Dropout(0.5))
    with shared_masks.on_numpy(module, 2):
        y = module.forward(np.ones((4, 4), np.float32))
    kept = np.random.default_rng((2, 1)).random((4, 4), np.float32) > 0.5
    np.testing.assert_array_equal(y, kept * np.float32(2))
