"""Which comparisons a verdict is made of, and who is accused: told by verdicts written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from numpy_models import Linear
from parity import Comparison, LayerProbe, Pair, ParityError, TensorCheck, assertions
from parity.assertions import accuse, assert_agreement, compare_loss, examine
from parity.choices import Choice, Decision
from parity.comparison import CHANGED, DTYPE, judged_again
from parity.decisions import Leeway, Rounding
from parity.references import References
from parity.task import Setting, Task
from parity.tolerance import Tensors

X = np.array([[1.0, 2.0]], np.float32)


def check(tensor: str = "output", layer: str = "", share: float = 0.5, **told: str) -> TensorCheck:
    return TensorCheck("net", layer, tensor, (0,), 1.0, 1.0 + share, share, 1.0, **told)


WRONG, GRADIENT = check(share=2.0), "gradient of weight"


def verdict(*checks: TensorCheck, **options: Any) -> Comparison:
    return Comparison("net", "float32", True, list(checks or [check()]), **options)


def decision(operation: str) -> Decision:
    return Decision(operation, "window", 1, 1e-7, 2e-7, 3)


@dataclass
class World:
    """What `assertions` asks of other modules, with answers by the setting's name."""

    answers: dict[str, Comparison] = field(default_factory=dict)
    alone: list[LayerProbe] | None = None
    varied: list[tuple[str, Task, bool]] = field(default_factory=list)
    parts: list[Setting] | None = None
    held: list[Setting] = field(default_factory=list)
    found: tuple[str, str] | None = None

    def hold(self, setting: Setting) -> Comparison:
        self.held.append(setting)
        return self.answers.get(setting.name, verdict())

    def probes(self, setting: Setting) -> list[LayerProbe]:
        assert setting.name == "net"
        if self.alone is None:
            raise ParityError("there is none")
        return self.alone

    def given_parts(self, setting: Setting) -> Iterator[Setting]:
        assert setting.name == "net"
        if self.parts is None:
            raise ParityError("there is none")
        yield from self.parts


@pytest.fixture
def world(monkeypatch) -> World:
    made = World()

    def hard(part: Setting) -> Setting | None:
        return None if part.layer == "x" else replace(part, name=f"{part.name}, hard")

    for name, answer in {
        "hold": made.hold,
        "probes": made.probes,
        "variations": lambda _: iter(made.varied),
        "parts": made.given_parts,
        "hard": hard,
        "explain": lambda *_: made.found,
    }.items():
        monkeypatch.setattr(assertions, name, answer)
    return made


def setting(name: str = "net", module: nn.Module | None = None, **options: Any) -> Setting:
    own = {key: options.pop(key) for key in ("format", "forward_only") if key in options}
    module = module or nn.Sequential(nn.Tanh(), nn.Tanh())
    return Setting(name, module, Linear(2, 2), Task(X, **own), **options)


def alone(layer: str, *checks: TensorCheck, kind: str = "Tanh", **options: Any) -> LayerProbe:
    return LayerProbe(layer, kind, verdict(*checks, **options))


# What rounding decides


def test_what_rounding_decides_is_judged_in_each_layer_alone_and_on_random_inputs(world) -> None:
    first = verdict(check(), decisions=[decision("conv"), decision("relu"), decision("pool")])
    failing = check(GRADIENT, "pool", 3.0)
    world.alone = [alone("conv"), alone("pool", failing, decisions=[decision("pool")])]
    world.answers = {"net": first, "net on random inputs": verdict(check(), WRONG)}
    found = examine(setting())
    assert found.checks == [*first.checks, failing, WRONG]
    assert found.alone == world.alone
    told = " agrees in each layer alone and on random inputs; relu, pool could not be judged alone"
    assert found.apart == told
    assert world.held[1].name == "net on random inputs"
    assert not np.array_equal(world.held[1].task.inputs, X)
    world.alone = [alone(name) for name in ("conv", "relu", "pool")]
    assert examine(setting()).apart == " agrees in each layer alone and on random inputs"
    world.alone = None
    assert examine(setting()).apart == (
        " agrees on random inputs; conv, relu, pool could not be judged alone"
    )
    for kept in (verdict(), verdict(WRONG, decisions=[decision("conv")])):
        world.answers = {"net": kept}
        world.held.clear()
        assert examine(setting()).apart == " is granted their effect"
        assert [held.name for held in world.held] == ["net"]


def unjudged(found: Comparison) -> list[int]:
    return [number for number, each in enumerate(found.checks) if each.unjudged != ""]


def test_what_low_precision_drowns_is_judged_by_the_layers_alone(world) -> None:
    drowned = [check(GRADIENT, layer, unjudged="too much") for layer in ("conv", "fc", "other", "")]
    failing = check(GRADIENT, "fc", 3.0)
    world.alone = [alone("conv"), alone("fc", failing)]
    world.answers = {"net": verdict(check(), *drowned, notes=["first"])}
    found = examine(setting(format="bfloat16"))
    assert [bool(each.unjudged) for each in found.checks] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    assert found.checks[-1] == failing
    assert found.alone == world.alone
    assert found.notes == [
        "first",
        "judged in each layer alone, as bfloat16 leaves little of it in the whole: gradient of "
        "weight of conv, gradient of weight",
    ]
    world.alone = [alone("fc", failing)]
    assert [bool(each.unjudged) for each in examine(setting(format="tf32")).checks][1:5] == [
        True
    ] * 4
    for kept in (
        verdict(check(), drowned[0], WRONG),
        verdict(check()),
        verdict(check("output[1]", unjudged="too much"), drowned[0]),
    ):
        world.answers = {"net": kept}
        assert examine(setting(format="tf32", vary=False)).checks == kept.checks
    world.answers = {"net": verdict(*drowned)}
    assert examine(setting()).checks == drowned
    world.alone = None
    assert examine(setting(format="tf32")).checks == drowned


# Variations


SAID = ["upstream gradient × 1024", "after two calls of forward, the weights changed between them"]


def tasks() -> list[tuple[str, Task, bool]]:
    return [("one", Task(X * 2), False), ("many", Task(X * 3), True)]


def test_a_pair_that_agrees_is_held_on_variations_and_says_which(world) -> None:
    world.varied = tasks()
    world.parts = [setting(f"net, {n} alone", layer=n) for n in ("relu", "x", "pool", "relu")]
    world.answers["net, pool alone, hard"] = verdict(check(unjudged="too much"))
    given = setting(vary=True)
    found = examine(given)
    together = [*SAID, "one", "many", "relu alone, on equal numbers or large logits"]
    assert found.notes == [f"also compared: {'; '.join(together)}"]
    assert [held.name for held in world.held] == [
        *("net", "net, one", "net, many", "net, relu alone, hard", "net, pool alone, hard"),
        "net, relu alone, hard",
    ]
    assert world.held[1].task is world.varied[0][1]
    assert isinstance(world.held[3].network, Linear)
    assert world.held[3].network is not world.parts[0].network
    assert found.setting is not None
    assert found.setting.network is not given.network
    world.answers["net, one"] = verdict(check(unjudged="too much"))
    world.answers["net"] = verdict(notes=["first"])
    world.parts = None
    found = examine(setting(vary=True, forward_only="no backward"))
    assert found.notes == ["first", f"also compared: {'; '.join([SAID[1], 'many'])}"]
    world.answers["net"] = verdict(WRONG)
    world.held.clear()
    assert examine(setting(vary=True)).notes == []
    world.answers["net"] = verdict()
    assert examine(setting()).notes == []
    assert [held.name for held in world.held] == ["net", "net"]


def test_a_module_without_layers_is_its_own_part(world) -> None:
    found = examine(setting(vary=True, module=nn.Tanh()))
    assert found.notes == [
        f"also compared: {'; '.join(SAID)}; net alone, on equal numbers or large logits"
    ]


@pytest.mark.parametrize(
    ("name", "answer", "returned"),
    [
        ("net, one", verdict(WRONG), True),
        ("net, one", verdict(WRONG, raised=True), True),
        ("net, many", verdict(WRONG), True),
        ("net, many", verdict(WRONG, raised=True), False),
        ("net, many", verdict(check(unjudged="too much")), False),
        ("net, relu alone, hard", verdict(WRONG), True),
        ("net, relu alone, hard", verdict(WRONG, raised=True), False),
        ("net, relu alone, hard", verdict(check(unjudged="too much")), False),
    ],
)
def test_the_first_variation_that_fails_is_the_verdict(name, answer, returned, world) -> None:
    world.varied = tasks()
    world.parts = [setting("net, relu alone", layer="relu")]
    world.answers[name] = answer
    given = setting(vary=True)
    found = examine(given)
    assert (found.checks == answer.checks) is returned
    if not returned:
        assert name.removeprefix("net, ").partition(" ")[0] not in found.notes[0]
        return
    assert found.setting is not None
    assert found.setting.name == name
    assert found.setting.network is not given.network
    by_name = {f"net, {label}": task for label, task, _ in world.varied}
    if name in by_name:
        assert found.setting.task is by_name[name]


def test_a_part_that_is_wrong_on_any_numbers_has_its_arrays_in_another_order(world) -> None:
    world.parts = [setting("net, relu alone", layer="relu")]
    world.answers = {"net, relu alone, hard": verdict(WRONG), "net, relu alone": verdict(WRONG)}
    assert examine(setting(vary=True)).passed


# Who is accused


def accused(world: World, comparison: Comparison, **options: Any) -> tuple[str, list[str]]:
    return accuse(replace(comparison, setting=setting(**options)))


def test_the_accused_has_a_line(world) -> None:
    wide = check(DTYPE, note="NumPy gives float64")
    assert accused(world, verdict(check(), wide)) == (
        "culprit: dtype, and nothing else: NumPy gives float64",
        [DTYPE],
    )
    assert accused(world, verdict(WRONG, wide), module=nn.Tanh(), layer="act") == (
        f"culprit: act (Tanh), wrong by itself: {WRONG}",
        ["act"],
    )
    assert accused(world, verdict(WRONG), module=nn.Tanh()) == (
        f"culprit: Tanh, the only layer: {WRONG}",
        ["Tanh"],
    )
    assert accused(world, verdict(WRONG)) == ("culprit: unknown, because there is none", [])
    world.found = "calls", "calls, which are in the wrong order"
    assert accused(world, verdict(WRONG)) == (
        "culprit: calls, which are in the wrong order",
        ["calls"],
    )
    world.found, world.alone = None, [alone("0"), alone("1"), alone("0")]
    told = (
        "culprit: none of the layers that were run alone, each is right on its own (0, 1); look at "
        "their order and at what lies between them, such as a sum, a mask, or a flatten that "
        "orders its elements otherwise"
    )
    assert accused(world, verdict(WRONG)) == (told, [])
    world.alone = [alone("1")]
    rest = ", and at what could not be judged alone (0): pass layers="
    assert accused(world, verdict(WRONG)) == (told.replace("(0, 1)", "(1)") + rest, [])


GUILTY = check(GRADIENT, share=3.0)
CHANGES, SHOWN = check("input", note=CHANGED), check("x", "a", note=CHANGED)


@pytest.mark.parametrize(
    ("shown", "probes", "culprits"),
    [
        ([WRONG], [alone("a"), alone("b", WRONG), alone("c", WRONG)], ["b", "c"]),
        ([WRONG], [alone("c", WRONG), alone("b", WRONG), alone("c", WRONG)], ["b", "c"]),
        # Where all outputs are right, one that is wrong alone has its arrays in another order.
        ([GUILTY], [alone("a", WRONG, GUILTY), alone("b", check(), GUILTY)], ["b"]),
        ([GUILTY, WRONG], [alone("a", WRONG, GUILTY), alone("b", check(), GUILTY)], ["a", "b"]),
        # What is changed does harm only where the pair shows it, or nothing else is wrong.
        ([WRONG], [alone("a", CHANGES), alone("b", WRONG)], ["b"]),
        ([WRONG], [alone("a", CHANGES, WRONG), alone("b", WRONG)], ["a", "b"]),
        (
            [WRONG, check("x", "a", note=CHANGED)],
            [alone("a", CHANGES), alone("b", WRONG)],
            ["a", "b"],
        ),
        ([WRONG], [alone("a", CHANGES), alone("b", CHANGES)], ["a", "b"]),
        ([WRONG], [alone("a", check(DTYPE, note="wide")), alone("b", WRONG)], ["b"]),
    ],
)
def test_who_of_several_is_guilty(shown, probes, culprits, world) -> None:
    world.alone = probes
    told, found = accused(world, verdict(*shown))
    assert found == culprits
    first = {probe.layer: probe for probe in reversed(probes)}
    assert told.splitlines() == [f"culprit: {first[layer]}" for layer in culprits]
    world.alone = None  # the comparison's own come first
    assert accused(world, verdict(*shown, alone=probes)) == (told, found)


def test_what_cannot_be_judged_is_no_agreement(world) -> None:
    world.answers["net"] = verdict(check(), *[check(n, unjudged="vague") for n in ("a", "b")])
    with pytest.raises(ParityError) as caught:
        assert_agreement(setting())
    assert str(caught.value) == "cannot be judged in float32: net, a: vague; net, b: vague"
    world.answers["net"] = found = verdict()
    assert assert_agreement(setting()).checks == found.checks


def test_a_pair_may_be_given_by_name(world) -> None:
    by_name = {"numpy_network": Linear(2, 2), "inputs": X}
    assertions.compare(nn.Linear(2, 2), **by_name)
    assertions.compare(nn.Linear(2, 2), **by_name, name="mine", seed=6)
    assertions.compare(Pair(nn.Linear(2, 2), **by_name), seed=7)
    held = [(each.name, each.task.seed) for each in world.held if "," not in each.name]
    assert held == [("Linear", 0), ("mine", 6), ("Linear", 7)]


def test_a_losss_name_is_torchs() -> None:
    losses: list[Any] = [nn.MSELoss(), _Squares()]
    assert compare_loss(*losses, X, X + 1).network == "MSELoss"
    found = compare_loss(*losses, X, X + 1, name="mine")
    assert found.network == "mine"
    assert found.notes == []  # on the outputs given and no others


class _Squares:
    def forward(self, outputs: np.ndarray, targets: Any) -> Any:
        self.d = outputs - targets
        return np.mean(self.d**2)

    def backward(self) -> np.ndarray:
        return self.d * np.float32(2 / self.d.size)


# What is granted for decisions


EPS = float(np.finfo(np.float32).eps)
PLACES = [("", "output"), ("a", GRADIENT), ("b", GRADIENT), ("", "loss")]


def granted(largest: float = 1.0, **task: Any) -> References:
    """References of layers a and b, with decisions of rounding on which a's gradient hangs."""
    exact: Tensors = {place: np.array([largest]) for place in PLACES}
    watch = Rounding(EPS)
    watch.called = {"": 0, "a": 1, "b": 5}
    watch.choices = [replace(_choice(), position=position) for position in (2, 3)]
    known = Leeway([decision("relu")], dict.fromkeys(PLACES, 2.0), {PLACES[1]})
    task_ = Task(X, **task)
    epsilons = {EPS: known, 2.0**-7: known, 2.0**-10: known}
    return References(nn.Tanh(), task_, exact, exact, {}, [(exact, watch)], epsilons)


def _choice() -> Any:
    return Choice("relu", 0, torch.zeros(1), torch.zeros(1), [])


def of(place: tuple[str, str], share: float, **told: str) -> TensorCheck:
    return check(place[1], place[0], share, **told)


@pytest.mark.parametrize(
    ("shares", "wider", "undecided"),
    [
        ((0.5, 2.5, 0.5), (False, True, False), ["gradient of weight of a"]),
        ((2.5, 2.5, 2.5), (True, True, True), ["gradient of weight of a"]),
        ((2.5, 0.5, 0.5), (True, False, False), []),
        ((0.5, 3.5, 2.5), (False, False, True), []),
        ((0.5, 900.0, 0.5), (False, False, False), []),
        ((0.5, 0.5, 0.5), (False, False, False), []),
    ],
)
def test_what_fails_is_granted_what_decisions_move(shares, wider, undecided) -> None:
    checks = [of(place, share) for place, share in zip(PLACES, shares, strict=False)]
    found = judged_again(verdict(*checks), granted())
    assert [each.budget for each in found.checks] == [3.0 if more else 1.0 for more in wider]
    assert found.undecided == undecided
    assert found.decisions == ([decision("relu")] if undecided else [])


def test_a_gross_error_is_no_decisions_unless_its_tensor_hangs_on_one(monkeypatch) -> None:
    asked: list[float] = []

    def leeway(self: References, epsilon: float) -> Leeway:
        asked.append(epsilon)
        return self._leeways[epsilon]

    monkeypatch.setattr(References, "leeway", leeway)
    hanging, free = PLACES[1], PLACES[2]
    cancelled = 1000 * EPS  # of numbers up to 1
    for place, share, budget, size, more in (
        (hanging, 5000.0, 1.0, 1.0, True),
        (free, 5000.0, 1.0, 1.0, False),
        (free, 1000.0, 1.0, 1.0, True),
        (free, 1000.1, 1.0, 1.0, False),
        (free, 2000.0, cancelled / 2001, 1.0, True),
        (free, 2000.0, cancelled / 1999, 1.0, False),
        (free, 2000.0, cancelled / 1999, 2.0, True),
    ):
        asked.clear()
        tried = replace(of(place, share), error=share * budget, budget=budget)
        found = judged_again(verdict(tried), granted(size))
        assert bool(asked) is more, (place, share, budget, size)
        assert more or found.checks == [tried]
    for kept in (verdict(of(hanging, 2.5), check(note="changed")), verdict(check())):
        asked.clear()
        assert judged_again(kept, granted()) is kept
        assert not asked


def test_in_few_bits_only_what_hangs_on_decisions_is_granted_more() -> None:
    checks = [of(place, 2.5) for place in PLACES[:3]]
    found = judged_again(verdict(*checks), granted(format="bfloat16"))
    assert [each.budget for each in found.checks] == [1.0, 3.0, 1.0]
    assert found.undecided == ["gradient of weight of a"]
