"""Torch's run: what is read of it, under which names, and what it leaves as it was."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from parity.perturbation import Probe
from parity.protocol import ParityError
from parity.references import _longest_sum, references
from parity.runs import (
    arithmetic,
    array_of,
    clone,
    observe,
    run_forward,
    run_torch,
    saved_buffers,
    torch_targets,
    with_upstream,
)
from parity.task import Setting, Task, place_of
from parity.tolerance import largest

DOUBLE = torch.float64
X, DY = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 0.0], [0.5, -1.0]])


class Counting(nn.Module):
    """y = w·x, with a buffer that is saved, one that is not, and a weight that is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Module()
        self.inner.w = nn.Parameter(torch.tensor([2.0, 0.5]))
        self.fixed = nn.Parameter(torch.ones(1), requires_grad=False)
        self.register_buffer("count", torch.zeros(1, dtype=torch.long))
        self.register_buffer("passing", torch.zeros(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return self.inner.w * x * self.fixed


def test_a_run_gives_named_arrays_and_leaves_the_module() -> None:
    module = Counting()
    found = run_torch(module, Task(X, {"": DY}), DOUBLE)
    places = [("", "output"), ("", "gradient of input"), ("inner", "gradient of w"), ("", "count")]
    assert list(found) == places
    w = np.array([2.0, 0.5])
    for place, expected in zip(places, (w * X, w * DY, (DY * X).sum(0), [1]), strict=True):
        np.testing.assert_array_equal(found[place], expected)
    assert module.count == 0
    assert module.inner.w.grad is None
    forward = run_torch(module, Task(X, forward_only="so"), torch.float32)
    assert list(forward) == [("", "output"), ("", "count")]
    assert forward["", "output"].dtype == np.float32
    assert list(saved_buffers(module)) == [("", "count")]


def test_a_loss_is_in_the_outputs_dtype_and_gives_its_gradient() -> None:
    weights = torch.tensor([1.0, 3.0])
    criterion, targets = nn.CrossEntropyLoss(weights), np.array([1, 0])
    task = Task(X, targets=targets, torch_criterion=criterion)
    found = run_torch(Counting(), task, DOUBLE)
    names = ["output", "loss", "gradient of output", "gradient of input"]
    assert [name for _, name in found][:4] == names
    y = torch.tensor(X * [2.0, 0.5], requires_grad=True)
    loss = nn.functional.cross_entropy(y, torch.tensor(targets), weights.double())
    (dy,) = torch.autograd.grad(loss, y)
    np.testing.assert_allclose(found["", "loss"], float(loss.detach()), rtol=1e-14)
    np.testing.assert_allclose(found["", "gradient of output"], dy.numpy(), rtol=1e-14)
    assert weights.dtype == torch.float32  # the caller's criterion is copied
    assert criterion.weight is weights
    wide = replace(task, targets=X.astype(np.float64), torch_criterion=nn.MSELoss())
    assert run_torch(Counting(), wide, torch.float32)["", "loss"].dtype == np.float32
    moved = run_torch(Counting(), task, DOUBLE, Probe({}, 1e-3, 0))
    assert not np.array_equal(moved["", "loss"], found["", "loss"])
    np.testing.assert_array_equal(moved["", "output"], found["", "output"])
    assert list(run_torch(Counting(), replace(task, forward_only="so"), DOUBLE)) == [
        *(("", name) for name in ("output", "loss", "count")),
    ]


def test_inputs_are_copied_and_constants_have_no_gradient() -> None:
    class InPlace(nn.Module):
        def forward(self, x: Tensor, scale: Tensor, tags: Tensor) -> dict[str, Tensor]:
            return {"y": x.mul_(scale), "tags": tags + 1}

    inputs = X.copy(), np.array([3.0, 5.0]), np.array([1, 2])
    task = Task(inputs, {"[y]": DY})
    found = run_torch(InPlace(), task, DOUBLE)
    names = ["output[y]", "output[tags]", "gradient of input[0]", "gradient of input[1]"]
    assert [name for _, name in found] == names
    np.testing.assert_array_equal(found["", "gradient of input[0]"], DY * [3, 5])
    np.testing.assert_array_equal(found["", "gradient of input[1]"], (DY * X).sum(0))
    np.testing.assert_array_equal(inputs[0], X)
    assert found["", "output[tags]"].dtype == np.int64
    alone = run_torch(InPlace(), replace(task, constants=frozenset({"[1]"})), DOUBLE)
    assert "gradient of input[1]" not in [name for _, name in alone]
    single = run_forward(InPlace(), task, torch.float32)
    assert single["y"].dtype == torch.float32
    assert not single["y"].requires_grad
    assert run_forward(InPlace(), task, DOUBLE, grad=True)["y"].requires_grad


def test_arithmetic_is_put_back_whatever_happens() -> None:
    before = torch.get_default_dtype(), torch.backends.mha.get_fastpath_enabled()
    seen: list[tuple[torch.dtype, bool]] = []

    def look() -> None:
        seen.append((torch.get_default_dtype(), torch.backends.mha.get_fastpath_enabled()))

    with pytest.raises(ZeroDivisionError), arithmetic(DOUBLE):
        seen.append(look() or 1 / 0)  # type: ignore[func-returns-value]
    look()
    assert seen == [(DOUBLE, False), before]


def test_a_clone_is_of_the_dtype_and_mode_and_not_compiled() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout()))
    compiled = copy.deepcopy(module)
    compiled[1] = torch.compile(compiled[1], backend="eager")
    for given in (compiled, torch.compile(compiled, backend="eager")):
        made = clone(given, DOUBLE, False)
        assert [type(each) for each in made.modules()] == [type(each) for each in module.modules()]
        assert {tensor.dtype for tensor in made.parameters()} == {DOUBLE}
        assert not any(each.training for each in made.modules())
        assert clone(given, torch.float32, True).training


def test_an_upstream_gradient_is_drawn_for_each_smooth_output() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return x.sum(), x.argmax(), x * 2

    task = with_upstream(Two(), Task(X.astype(np.float32), seed=4))
    generator = np.random.default_rng((4, 1))
    assert task.upstream is not None
    assert list(task.upstream) == ["[0]", "[2]"]
    for gradient, shape in zip(task.upstream.values(), ((), (2, 2)), strict=True):
        expected = np.asarray(generator.standard_normal(shape), np.float32)
        np.testing.assert_array_equal(gradient, expected, strict=True)
    for kept in (Task(X, torch_criterion=nn.MSELoss()), Task(X, forward_only="so")):
        assert with_upstream(nn.Tanh(), kept) is kept
    assert with_upstream(nn.Linear(2, 2), Task(X)).upstream is not None
    nan = Task(np.array([[np.nan, 1.0]]))  # gives the same each time
    assert with_upstream(nn.Tanh(), nan).upstream is not None


@pytest.mark.parametrize(
    ("module", "inputs", "dtype", "sentence"),
    [
        (
            nn.Linear(3, 2),
            X,
            DOUBLE,
            "torch's Linear cannot run on inputs of shape (2, 2): ",
        ),
        (
            nn.Bilinear(2, 2, 2),
            (X, X[:1]),
            torch.float32,
            "torch's Bilinear cannot run on inputs of shape (2, 2), (1, 2) in float32: ",
        ),
    ],
)
def test_what_torch_refuses_is_told_with_the_shapes(module, inputs, dtype, sentence) -> None:
    with pytest.raises(ParityError) as caught:
        run_forward(module.to(dtype), Task(inputs), dtype)
    assert str(caught.value).startswith(sentence)


def test_numbers_are_read_as_they_are() -> None:
    values = torch.tensor([1.0, 2.5])
    read = array_of(values)
    values[0] = 9
    np.testing.assert_array_equal(read, np.array([1, 2.5], np.float32), strict=True)
    np.testing.assert_array_equal(
        array_of(values.bfloat16()), np.array([9, 2.5], np.float32), strict=True
    )
    np.testing.assert_array_equal(array_of(values.half()), np.array([9, 2.5], np.float16))
    np.testing.assert_array_equal(array_of(values.to_sparse().requires_grad_()), [9, 2.5])
    assert torch_targets(np.array([1, 2]), DOUBLE).dtype == torch.int64
    assert torch_targets(np.ones(2, np.float32), DOUBLE).dtype == DOUBLE


def test_a_tensors_longest_sum_is_its_layers_or_the_ends() -> None:
    module = nn.Sequential(nn.Conv2d(3, 2, 2), nn.BatchNorm2d(2), nn.Flatten())
    task = Task(np.random.default_rng(0).standard_normal((4, 3, 5, 5)))
    seen, y = observe(module, task)
    assert y.shape == (4, 32)
    assert seen == {"0": (12, 64), "1": (64, 64), "2": (0, 1)}
    exact = {("", "output"): np.zeros((4, 32)), ("", "output[1]"): np.zeros(3)}
    for place, length in {
        ("", "loss"): 4 * 32 + 3,
        ("0", "gradient of weight"): 64,
        ("0", "weight"): 12,
        ("1", "running_mean"): 64,
        ("2", "output"): 0,
        ("", "output"): 64,  # the last layer's that adds up
        ("", "gradient of input"): 64,
        ("", "gradient of output"): 64,
        ("", "gradient of input[1]"): 64,
        ("missing", "weight"): 1,
    }.items():
        assert _longest_sum(place, seen, exact) == length, place
    flat = {"only": (seen["2"])}
    assert _longest_sum(("", "output"), flat, exact) == 0
    for name in ("output", "gradient of input", "gradient of output"):
        assert _longest_sum(("", name), {}, exact) == 1


def test_budgets_are_the_floor_where_torch_is_exact_and_none_for_whole_numbers() -> None:
    """One product each, so that every figure can be told beforehand."""
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(3.0)
    inputs = np.array([[2.0]], np.float32)
    task = Task(inputs, {"": np.array([[0.5]], np.float32)})
    given = references(module, task)
    eps = float(np.finfo(np.float32).eps)
    assert {place: float(x.item()) for place, x in given.exact.items()} == {
        ("", "output"): 6.0,
        ("", "gradient of input"): 1.5,
        ("", "gradient of weight"): 1.0,
    }
    assert [x.dtype for x in given.own.values()] == [np.float32] * 3
    for place, size in (("output", 6.0), ("gradient of input", 1.5), ("gradient of weight", 1.0)):
        # Two factors off by ε move a product by up to 2ε; its own rounding adds ε.
        assert size * eps * 0.999 < given.budgets["", place] < 3.001 * size * eps
    assert max(given.budgets["", n] / s for n, s in (("output", 6), ("gradient of weight", 1))) > (
        2.5 * eps
    )
    assert len(given.watched) == 2 + 3
    assert given.watched[0][0] is given.exact
    assert given.watched[1][0] is given.own
    assert len(references(module, task, probes=1).watched) == 3
    double = replace(task.with_arrays(lambda _, x: x.astype(np.float64)), upstream={"": DY[:1, :1]})
    exact = references(module.double(), double)
    assert references(Ranking(), Task(inputs, forward_only="so")).budgets["", "output"] == 0.0
    assert exact.own is exact.exact
    assert largest(exact.exact["", "output"]) == 6


class Ranking(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.argsort(1)


class Kink(nn.Module):
    """Just above zero, where single precision is at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(1 + 2.0**-23))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.w - (1 + 2.0**-22)).relu()


def test_a_run_that_decides_otherwise_says_nothing_of_the_gradients_before() -> None:
    task = Task(np.full((1, 1), 1 + 2.0**-23, np.float32), {"": np.ones((1, 1), np.float32)})
    given = references(Kink(), task)
    for tensor in ("gradient of input", "gradient of w"):
        assert (given.own["", tensor], given.exact["", tensor] > 0.5) == (0, True)
        assert given.budgets["", tensor] < 1e-5


def test_what_fails_in_one_precision_alone_is_told_with_it() -> None:
    class Narrow(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            assert x.dtype == torch.float32, "single alone"
            return super().forward(x)

    task = Task(X.astype(np.float32), {"": DY.astype(np.float32)})
    with pytest.raises(ParityError) as caught:
        run_torch(Narrow(2, 2), task, DOUBLE)
    assert str(caught.value) == (
        "torch's Narrow cannot run on inputs of shape (2, 2) in float64: single alone"
    )


def test_places_and_tasks() -> None:
    assert place_of("a.b.w") == ("a.b", "w")
    assert place_of("w", "gradient of ") == ("", "gradient of w")
    for dtype, name in ((np.float32, torch.float32), (np.float64, DOUBLE)):
        task = Task((np.zeros(2, int), np.zeros(2, dtype)), dtype=np.float16)
        assert (task.dtype, task.precision) == (dtype, name)
    assert Task(np.zeros(2, int)).precision == torch.float32
    assert Task(np.zeros(2, int), dtype=np.float64).precision == DOUBLE
    task = Task(X)
    assert (task.train, task.seed, task.forward_only, task.format) == (True, 0, "", "")
    assert Setting("pair", nn.Tanh(), None, task).vary is False
