"""What each layer of a pair is run alone on, and which layers those are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from numpy_models import BatchNorm2d, CrossEntropyLoss, Flatten, Linear, ReLU, Sequential
from parity import Pair, localise
from parity.localisation import _accepted, members_of, parts, traffic
from parity.perturbation import InnerDimensions, Probe, layers_of, perturbed
from parity.protocol import ParityError, check_network, kind_of, set_mode, told
from parity.references import references
from parity.task import Setting, Task
from parity.trees import Call

X = np.array([[1.0, -2.0], [3.0, 4.0]])


class Twice(nn.Module):
    """Calls one layer twice; another's second output nothing depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.fork = nn.Linear(2, 2), Fork()

    def forward(self, x: Tensor) -> Tensor:
        y = self.line(self.line(x))
        return self.fork(y, scale=torch.tensor(3.0))["wide"] * 2


class Fork(nn.Module):
    def forward(self, x: Tensor, scale: Tensor) -> dict[str, Tensor]:
        return {"wide": x * scale, "idle": x.sum(), "most": x.argmax(1)}


def test_every_call_of_a_layer_is_seen_going_forward_and_back() -> None:
    module = Twice().double()
    with torch.no_grad():
        module.line.weight.copy_(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
        module.line.bias.copy_(torch.tensor([1.0, -1.0]))
    dy = np.array([[1.0, 0.0], [2.0, -1.0]])
    passages, output = traffic(module, Task(X, {"": dy}))
    assert [passage.layer for passage in passages] == ["line", "line", "fork"]
    w, b = np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([1.0, -1.0])
    one = X @ w.T + b
    two = one @ w.T + b
    for passage, given in zip(passages, (X, one, two), strict=True):
        np.testing.assert_array_equal(passage.call.args[0], given)
    for passage, arrived in zip(passages, (6 * dy @ w, 6 * dy), strict=False):
        assert passage.shapes == {"": (2, 2)}
        np.testing.assert_array_equal(passage.upstream[""], arrived)
        assert passage.constants == frozenset()
    *_, fork = passages
    assert fork.call.kwargs.keys() == {"scale"}
    assert fork.constants == {"[scale]"}
    assert fork.shapes == {"[wide]": (2, 2), "[idle]": ()}
    np.testing.assert_array_equal(fork.upstream["[wide]"], 2 * dy)
    np.testing.assert_array_equal(fork.upstream["[idle]"], np.zeros(()), strict=True)
    np.testing.assert_array_equal(output, 6 * two)
    named, _ = traffic(module, Task(X, {"": dy}), ["fork"])
    assert [passage.layer for passage in named] == ["fork"]


class NumpyFork(ReLU):
    def forward(self, x, scale):
        return {"wide": x * scale}


def test_what_torch_takes_no_gradient_of_is_a_constant_alone() -> None:
    network: Any = ReLU()
    network.layers = {"fork": NumpyFork()}
    setting = Setting("twice", Twice().double(), network, Task(X, {"": X}))
    (part,) = parts(setting)
    assert part.task.constants == {"[scale]"}


def inner() -> nn.Sequential:
    module = nn.Sequential()
    module.add_module("bn", nn.BatchNorm2d(2))
    module.add_module("block", nn.Sequential(nn.Flatten(), nn.Linear(8, 3)))
    return module


def test_a_layer_alone_is_the_whole_ones_task_on_what_it_met() -> None:
    images = np.random.default_rng(0).standard_normal((3, 2, 2, 2)).astype(np.float32)
    block = Sequential(Flatten(), Linear(8, 3))
    network = Sequential(bn=BatchNorm2d(2), block=block)
    pair = Pair(
        inner(),
        network,
        images,
        np.array([0, 2, 1]),
        nn.CrossEntropyLoss(),
        CrossEntropyLoss(),
        seed=9,
        name="mine",
        expect={"bn.running_var": "biased"},
    )
    setting = replace(pair.setting(), ask=references)
    found = {part.layer: part for part in parts(setting)}
    assert list(found) == ["bn", "block.0", "block.1", "loss"]
    assert [part.name for part in found.values()] == [
        "mine, bn alone",
        "mine, block.0 alone",
        "mine, block.1 alone",
        "mine, loss",
    ]
    for layer, part in found.items():
        assert (part.task.seed, part.task.train, part.task.dtype) == (9, True, np.float32)
        assert part.task.expect == ({"running_var": "biased"} if layer == "bn" else {})
        assert part.layers is None
        assert part.ask is references
        assert not part.vary
    loss = found.pop("loss")
    assert loss.task.torch_criterion is pair.torch_criterion
    np.testing.assert_array_equal(loss.task.targets, [0, 2, 1])
    assert loss.task.arrays[""].shape == (3, 3)
    for layer, part in found.items():
        assert part.module is setting.module.get_submodule(layer)
        assert part.network is not network.layers.get(layer)
        assert (part.task.targets, part.task.torch_criterion, part.task.numpy_criterion) == (
            None,
            None,
            None,
        )
    blocks = list(parts(setting, blocks=True))
    assert [(part.layer, part.network is block) for part in blocks] == [("block", False)]
    assert [probe.kind for probe in localise(pair)] == [
        *("BatchNorm2d", "Flatten", "Linear", "CrossEntropyLoss")
    ]


class Flat:
    """A layer without backward."""

    backward = None

    def forward(self, x):
        return x.reshape(len(x), -1)

    def parameters(self):
        return {}

    buffers = parameters


def test_which_layers_a_network_shows() -> None:
    module = inner()
    flat, line, bn = Flatten(), Linear(8, 3), BatchNorm2d(2)
    block = Sequential(flat, line)
    nested = Sequential(bn=bn, block=block)
    assert members_of(module, nested, None) == {"bn": bn, "block.0": flat, "block.1": line}
    assert members_of(module, nested, None, blocks=True) == {"block": block}
    assert members_of(module, nested, {"bn": flat}) == {"bn": flat}

    class Attributes:
        pass

    network: Any = Attributes()
    network.bn, network.block, network.other = bn, block, line
    assert members_of(module, network, None) == {"bn": bn}
    assert members_of(module, network, None, blocks=True) == {"block": block}
    network.bn = 3
    with pytest.raises(ParityError, match="Attributes has neither a mapping `layers` nor"):
        members_of(module, network, None)
    assert members_of(module, Attributes(), None, blocks=True) == {}


def test_a_loss_is_held_alone_where_no_layer_is_shown() -> None:
    class Bare:
        def __init__(self) -> None:
            self.inner = Sequential(Linear(2, 3), ReLU())
            self.parameters, self.gradients = self.inner.parameters, self.inner.gradients
            self.buffers, self.forward = self.inner.buffers, self.inner.forward
            self.backward = self.inner.backward

    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    x, losses = X.astype(np.float32), (nn.CrossEntropyLoss(), CrossEntropyLoss())
    (probe,) = localise(module, Bare(), x, np.array([0, 2]), *losses)
    assert (probe.layer, probe.comparison.passed) == ("loss", True)
    with pytest.raises(ParityError, match="Bare has neither a mapping"):
        localise(module, Bare(), x)


class Options:
    backward = None

    def forward(self, x, *, scale=1.0):
        return x * scale

    def parameters(self):
        return {}

    buffers = parameters


class Everything(Options):
    def forward(self, x, **options):
        return x


def test_options_that_a_layer_does_not_know_are_left_out_and_arrays_are_not() -> None:
    call = Call((X,), {"scale": 2.0, "mask": None})
    assert _accepted(Options(), call) == Call((X,), {"scale": 2.0})
    assert _accepted(Everything(), call) == call
    assert _accepted(Options(), Call((X,), {"mask": X})) is None
    assert _accepted(Options(), Call((X, X), {})) is None
    assert _accepted(object(), call) is None


def test_the_layers_that_compute() -> None:
    class Own(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.ReLU(), nn.Sequential(nn.Tanh()))
            self.shift = nn.Parameter(torch.zeros(1))

    assert list(layers_of(nn.Sequential(Own(), nn.Linear(1, 1)))) == ["0", "0.0", "0.1.0", "1"]
    assert list(layers_of(nn.Tanh())) == [""]


def test_weights_of_layers_inside_that_are_never_called_are_moved_too() -> None:
    """As an attention's output projection is, which the attention applies as a function."""

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 2, bias=False)
            self.own = nn.Parameter(torch.ones(2))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.inner.weight * self.own

    module = nn.Sequential(Outer()).double()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with perturbed(module, Probe({"0": InnerDimensions(4, 9)}, 1e-3, 0)):
        pass
    for name, value in module.state_dict().items():
        share = ((value - before[name]) / before[name]).abs()
        torch.testing.assert_close(share, torch.full_like(share, 2e-3))
    again = {name: value.clone() for name, value in module.state_dict().items()}
    dimensions = {"0": InnerDimensions(4, 9), "0.inner": InnerDimensions(0, 9)}
    with perturbed(module, Probe(dimensions, 1e-3, 0)):
        pass
    assert torch.equal(module.state_dict()["0.inner.weight"], again["0.inner.weight"])
    assert not torch.equal(module.state_dict()["0.own"], again["0.own"])
    with perturbed(module, Probe({}, 1e-3, 0)):
        pass
    assert torch.equal(module.state_dict()["0.inner.weight"], again["0.inner.weight"])


def test_the_protocol_in_words() -> None:
    assert [kind_of(value) for value in (3, "x", np.zeros(1), object())] == [
        *("an int", "a str", "a ndarray", "an object")
    ]
    for kind, missing in (
        (Flat, ""),
        (ReLU, ""),
        (
            type("Bare", (), {"backward": 3}),
            "Bare cannot be compared: it needs the methods forward, backward, gradients, "
            "parameters, buffers",
        ),
        (type("No", (Flat,), {"buffers": 3}), "No cannot be compared: it needs the method buffers"),
        (
            type("Half", (Flat,), {"backward": 3}),
            "Half cannot be compared: it needs the methods backward, gradients",
        ),
    ):
        if not missing:
            check_network(kind())
            continue
        with pytest.raises(ParityError, match=f"^{missing}"):
            check_network(kind())
    switched: list[str] = []
    network = type("Modes", (), {m: lambda _, m=m: switched.append(m) for m in ("train", "eval")})
    for train in (True, False):
        set_mode(network(), train)
        set_mode(object(), train)
    assert switched == ["train", "eval"]
    for error, words in ((KeyError(), "no message"), (ValueError(" a\nb"), "a")):
        with pytest.raises(type(error)) as caught:
            raise error
        place = f"test_layers_of_a_pair.py:{caught.traceback[-1].lineno + 1}"
        assert told(caught.value) == f"{type(error).__name__} at {place}: {words}"
