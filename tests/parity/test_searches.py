"""What is looked for where every layer is right alone: each search by itself, to the sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch import nn

from numpy_models import MSELoss, Sequential, Tanh
from parity import DisagreementError, Pair, ParityError, assert_parity, localise
from parity.assembly import (
    _calls,
    _carried_over,
    _given_alike,
    _held,
    _intruder,
    _misplaced,
    _mode,
    _same,
    _single,
    _wrap,
)
from parity.comparison import Comparison
from parity.localisation import Passage, probes
from parity.task import Task
from parity.tolerance import TensorCheck
from parity.trees import Call
from tests.parity.handwritten import Line

X = np.random.default_rng(0).standard_normal((5, 4))


class Stack:
    """Square lines called in an order, with a change of what one hands to the next."""

    def __init__(self, *order: str, back: str = "", between: Callable[[Any], Any] | None = None):
        self.layers: dict[str, Any] = {name: Line(4, 4) for name in "abc"}
        self.order, self.back = order or tuple("abc"), back or "".join(reversed(order or "abc"))
        self.between = between or (lambda h: h)

    def forward(self, x: np.ndarray) -> np.ndarray:
        for name in self.order:
            x = self.between(self.layers[name].forward(x))
        return x

    def backward(self, dy: np.ndarray) -> np.ndarray:
        for name in self.back:
            dy = self.layers[name].backward(dy)
        return dy

    def _named(self, kind: str) -> dict[str, np.ndarray]:
        return {
            f"{layer}.{name}": array
            for layer, member in self.layers.items()
            for name, array in getattr(member, kind)().items()
        }

    def parameters(self) -> dict[str, np.ndarray]:
        return self._named("parameters")

    def gradients(self) -> dict[str, np.ndarray]:
        return self._named("gradients")

    def buffers(self) -> dict[str, np.ndarray]:
        return {}


def lines() -> nn.Sequential:
    module = nn.Sequential()
    for name in "abc":
        module.add_module(name, nn.Linear(4, 4))
    return module


def told(network: Any, **options: Any) -> tuple[str, list[str]]:
    with pytest.raises(DisagreementError) as caught:
        assert_parity(lines(), network, X, **options)
    return str(caught.value).splitlines()[0], caught.value.culprits


NOBODY = (
    "culprit: none of the layers that were run alone, each is right on its own (a, b, c); look at "
    "their order and at what lies between them, such as a sum, a mask, or a flatten that orders "
    "its elements otherwise"
)


@pytest.mark.parametrize(
    ("network", "layer", "sentence"),
    [
        (lambda: Stack("b", "a", "c"), "a", "in whose place the NumPy network's forward calls b"),
        (lambda: Stack("a", "c", "b"), "b", "in whose place the NumPy network's forward calls c"),
        (
            lambda: Stack(*"abc", back="bca"),
            "c",
            "in whose place the NumPy network's backward calls b",
        ),
        (lambda: Stack("a", "b"), "c", "whose forward the NumPy network never calls"),
        (lambda: Stack("a", "c"), "b", "whose forward the NumPy network never calls"),
        (lambda: Stack(*"abc", back="cb"), "a", "whose backward the NumPy network never calls"),
    ],
)
def test_layers_out_of_turn(network, layer, sentence) -> None:
    assert told(network()) == (f"culprit: {layer}, {sentence}", [layer])
    losses = {"torch_criterion": nn.MSELoss(), "numpy_criterion": MSELoss()}
    assert told(network(), targets=X + 1, **losses) == (f"culprit: {layer}, {sentence}", [layer])


class Hidden:
    """Shows no layers."""

    def __init__(self, inner: Stack) -> None:
        self.inner, self.forward, self.backward = inner, inner.forward, inner.backward
        self.parameters, self.gradients = inner.parameters, inner.gradients
        self.buffers = inner.buffers


def test_layers_that_are_passed_are_searched() -> None:
    inner = Stack("b", "a", "c")
    sentence = "in whose place the NumPy network's forward calls b"
    assert told(Hidden(inner), layers=inner.layers) == (f"culprit: a, {sentence}", ["a"])


def test_what_happens_between_layers_is_nobodys() -> None:
    assert told(Stack(between=lambda h: h + 1)) == (NOBODY, [])

    def refuse(h: np.ndarray) -> np.ndarray:
        raise ValueError("no way")

    assert told(Stack(between=refuse)) == (NOBODY, [])


class Remembering(Stack):
    """Adds to every gradient that of the call before."""

    before: dict[str, np.ndarray] | None = None

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dx = super().backward(dy)
        now = {name: array.copy() for name, array in self.gradients().items()}
        for name, array in self.gradients().items():
            array += self.before[name] if self.before else 0
        self.before = now
        return dx


def test_what_a_call_leaves_to_the_next_has_its_tensors_name() -> None:
    sentence = "calls, of which one changes the next one's gradient of weight of a"
    assert told(Remembering()) == (f"culprit: {sentence}", ["calls"])
    pair = Pair(lines(), Remembering(), X).setting()
    assert _carried_over(pair.module, Remembering(), pair.task) == ("calls", sentence)
    assert _carried_over(pair.module, Stack(), pair.task) is None
    assert _carried_over(pair.module, Stack(between=lambda h: 1 / 0), pair.task) is None
    constant = Stack(between=lambda h: h * 0)
    said = "calls, which give the same output whatever the inputs"
    assert _carried_over(pair.module, constant, pair.task) == ("calls", said)
    relu = Pair(nn.Sequential(nn.ReLU()), Sequential(Tanh()), -np.abs(X)).setting()
    zero = Stack(between=lambda h: h * 0)
    zero.layers = {}
    zero.order, zero.back = (), ""
    zero.forward = lambda x: x * 0  # type: ignore[method-assign]
    assert _carried_over(relu.module, zero, relu.task) is None  # nor does torch's

    draws = np.random.default_rng(0)
    noisy = Stack(between=lambda h: h + draws.standard_normal(h.shape))
    assert _carried_over(pair.module, noisy, pair.task) == (
        "random numbers",
        "random numbers, which the NumPy network draws anew each time: give its dropout an "
        "attribute `draw`, by which it shares torch's masks",
    )


class Fork(nn.Module):
    """Two branches of one input, and a layer behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x):
        return self.c(self.a(x) + self.b(x))


class NumpyFork(Stack):
    """Takes the second branch first, and does the last layer's work itself."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        b, a = (self.layers[name].forward(x) for name in "ba")
        return a + b + 1

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return self.layers["b"].backward(dy) + self.layers["a"].backward(dy)


def test_branches_in_another_order_do_not_end_the_search() -> None:
    module = Fork().double()
    found = _calls(module, network := NumpyFork(), network.layers, Task(X, {"": X}))
    assert found == ("c", "c, whose forward the NumPy network never calls")


def test_layers_that_torch_has_not_are_left_out() -> None:
    network = Stack("b", "a", "c")
    network.layers["more"] = Tanh()
    assert told(network)[1] == ["a"]


def test_where_no_layer_can_be_run_alone_the_last_says_why() -> None:
    network = Stack()
    network.layers = {name: Line(4, 5 + number) for number, name in enumerate("abc")}
    with pytest.raises(ParityError, match=r"weight has shape \(4, 4\) in torch and \(7, 4\) in"):
        localise(lines(), network, X)
    assert probes(Pair(lines(), network, X).setting(), blocks=True) == []


def test_whose_arrays_a_call_changes() -> None:
    task = Pair(lines(), Stack(), X).setting().task
    network = Stack()
    assert _intruder(network, network.layers, task) is None

    class Bold(Line):
        method, victim = "", np.zeros(0)

        def forward(self, x):
            if self.method == "forward":
                self.victim += 1
            return super().forward(x)

        def backward(self, dy):
            if self.method == "backward":
                self.victim += 1
            return super().backward(dy)

    for layer, method, victim, name in (
        ("c", "forward", "w", "weight"),
        ("c", "backward", "b", "bias"),
        ("a", "backward", "db", "gradient of bias"),
    ):
        network = Stack()
        network.layers[layer] = bold = Bold(4, 4)
        bold.method, bold.victim = method, getattr(network.layers["b"], victim)
        sentence = f"{layer}, whose {method} changes b's {name}"
        assert _intruder(network, network.layers, task) == (layer, sentence)

    class InPlace(Line):
        def forward(self, x):
            y = super().forward(x.copy())
            x += 1
            return y

    network = Stack()
    network.layers["b"] = InPlace(4, 4)
    assert _intruder(network, network.layers, task) == (
        "b",
        "b, whose forward changes a's output",
    )


def test_arrays_that_the_network_shows_otherwise_than_its_layers() -> None:
    task = Pair(lines(), Stack(), X).setting().task
    for method, kind in (("parameters", "weight"), ("gradients", "weight"), ("buffers", "mean")):
        network = Stack()
        assert _misplaced(network, network.layers, task) is None
        shown = {f"b.{kind}": np.full((4, 4), 9.0)}
        setattr(network, method, lambda shown=shown: shown)
        network.layers["b"].buffers = lambda: {"mean": np.zeros((4, 4))}
        assert _misplaced(network, network.layers, task) == (
            f"b.{kind}",
            f"b.{kind}, under which the network's {method}() shows other numbers than the layer b "
            "holds",
        )
    network.parameters = lambda: 3  # type: ignore[assignment, return-value]
    assert _misplaced(network, network.layers, task) is not None  # the others are looked at


def test_a_number_that_is_none_is_equal_to_itself() -> None:
    holed = X.copy()
    holed[0, 0] = np.nan
    pair, network = Pair(lines(), Stack(), holed).setting(), Stack()
    assert _intruder(network, network.layers, pair.task) is None
    assert _misplaced(network, network.layers, pair.task) is None
    assert _carried_over(pair.module, network, pair.task) is None


def test_what_a_layer_holds() -> None:
    class Holder:
        arrays = {"w": X}  # noqa: RUF012

        def none(self):
            return None

        def broken(self):
            raise KeyError

        def fine(self):
            return {"w": X}

    holder = Holder()
    assert list(_held(holder, "arrays")) == list(_held(holder, "fine")) == ["w"]
    for kind in ("none", "broken", "missing"):
        assert _held(holder, kind) == {}


def test_a_mode_that_does_not_change() -> None:
    class Stuck:
        training = True

    assert _mode(Stuck(), True) is None
    assert _mode(object(), False) is None
    assert _mode(Stuck(), False) == (
        "eval",
        "eval, after which the NumPy network is still in training mode",
    )
    stuck = Stuck()
    stuck.training = False
    assert _mode(stuck, True) == (
        "train",
        "train, after which the NumPy network is still in evaluation mode",
    )


def test_calls_are_compared_by_what_they_are_given() -> None:
    module, task = lines().double(), Task(X, {"": X})
    network = Stack()
    assert _calls(module, network, network.layers, task) is None
    assert _calls(module, network, {}, task) is None
    hidden = Stack()
    assert _calls(module, hidden, {name: Line(4, 4) for name in "abc"}, task) is None
    assert _calls(module, Stack(between=lambda h: 1 / 0), Stack().layers, task) is None


@pytest.mark.parametrize(
    ("given", "argument", "alike"),
    [
        (X, X, True),
        (X, X + 1e-5, True),
        (X, X * 1.0005, True),
        (X, X + 1e-2, False),
        (X, X[:4], False),
        (X, X.T, True),
        (X, None, False),
        (X, [X], True),
        (X, [X.T], False),
        ("text", X, False),
        (X.reshape(5, 1, 2, 2), X.reshape(5, 1, 2, 2).transpose(2, 1, 3, 0), True),
        (X.reshape(5, 1, 2, 2), X.reshape(5, 1, 2, 2).transpose(3, 1, 2, 0), False),
        (X.reshape(5, 1, 4), X, False),
    ],
)
def test_arguments_are_alike_in_torchs_layout_or_with_the_batch_last(
    given, argument, alike
) -> None:
    passage = Passage("a", Call((given,), {}), upstream={"": X + 7})
    assert _given_alike(passage, argument, "forward") is alike
    assert _given_alike(passage, X + 7, "backward")
    assert not _given_alike(passage, X, "backward")


def test_methods_are_replaced_where_the_network_calls_them() -> None:
    class Slots:
        __slots__ = ("forward",)

    class View:
        def __init__(self, wrapped: Any) -> None:
            self.wrapped = wrapped

    class Last:
        def forward(self) -> str:
            return "first"

        def forward_batch_last(self) -> str:
            return "last"

    def named(method: Any) -> Any:
        return lambda: f"wrapped {method()}"

    last = Last()
    _wrap(View(last), "forward", named)
    assert (last.forward(), last.forward_batch_last()) == ("first", "wrapped last")
    line = Sequential(Tanh())
    _wrap(Slots(), "forward", named)
    _wrap(line, "nothing", named)


def test_one_place_of_several() -> None:
    def check(tensor: str, layer: str = "", error: float = 2.0) -> TensorCheck:
        return TensorCheck("net", layer, tensor, (0,), 1.0, 3.0, error, 1.0)

    def single(*checks: TensorCheck) -> Any:
        return _single(Comparison("net", "float32", True, list(checks)))

    right, wrong = check("output", error=0.5), check("weight", "fc")
    assert single(right, wrong) == ("fc", f"fc, the only place that is wrong: {wrong}")
    assert single(right, wrong, check("bias", "fc")) is not None
    assert single(right, wrong, check("bias", "conv")) is None
    assert single(wrong) is None
    dx = check("gradient of input")
    assert single(right, dx) == (dx.tensor, f"gradient of input alone: {dx}")
    output = check("output")
    assert single(dx, output)[0] == "gradient of input"
    assert single(output, right) == ("output", f"output, the only place that is wrong: {output}")


def test_the_same_output() -> None:
    one = {("", "output"): X, ("", "loss"): X}
    assert _same(one, {("", "output"): X.copy(), ("", "loss"): X + 1})
    assert not _same(one, {("", "output"): X + 1})
