"""What a network's class says of its arguments is held against the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Optional

import pytest

from training.backends.models import build_network, check_arguments
from training.config.schema import ModelConfig
from training.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

WHOLE = "model.arguments.hidden must be a whole number"
SIDES = ("numpy_models", "torch_models")


def build(package: str, name: str, **arguments: Any) -> Any:
    side = pytest.importorskip(package)
    return build_network(side.build, package, ModelConfig(name, arguments=arguments))


@pytest.mark.parametrize("package", SIDES)
@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        (
            "deepcnn21",
            {"hidden": "abc"},
            "model.arguments.hidden must be a whole number, not 'abc'",
        ),
        ("deepcnn21", {"hidden": 1e2}, f"{WHOLE}, not 100.0"),
        ("deepcnn21", {"hidden": True}, f"{WHOLE}, not True"),
        ("deepcnn21", {"hidden": None}, f"{WHOLE}, not None"),
        (
            "deepcnn21",
            {"hidden": 0},
            "DeepCNN21: hidden must be at least 1, not 0",
        ),
        (
            "deepcnn21",
            {"depth": 7},
            "DeepCNN21: depth must be 4, 5 or 6 convolutions, not 7",
        ),
        (
            "deepcnn21",
            {"dropout": "orignal"},
            "model.arguments.dropout must be one of original, inverted, not 'orignal' "
            "(did you mean original?)",
        ),
        (
            "lenet5_variant",
            {"residual": "maybe"},
            "model.arguments.residual must be true or false, not 'maybe'",
        ),
        (
            "lenet5_variant",
            {"batch_norm": 1},
            "model.arguments.batch_norm must be true or false, not 1",
        ),
        (
            "lenet5_variant",
            {"activation": "gelu"},
            "model.arguments.activation must be one of tanh, relu, silu, not 'gelu' "
            "(did you mean relu?)",
        ),
    ],
)
def test_a_value_that_cannot_be(package, name, arguments, words) -> None:
    with pytest.raises(ConfigError) as caught:
        build(package, name, **arguments)
    assert str(caught.value).removeprefix(f"model {name}: ") == words


@pytest.mark.parametrize("package", SIDES)
def test_a_value_that_can_be(package) -> None:
    assert build(package, "deepcnn21", hidden=7, depth=4, dropout="inverted", ties="all")
    assert build(package, "lenet5_variant", activation="silu", batch_norm=True, residual=False)


def test_the_network_says_the_same_where_it_is_made_by_hand() -> None:
    said = set()
    for package in SIDES:
        with pytest.raises(ValueError, match="LeNet5Variant: activation is one of") as caught:
            pytest.importorskip(package).build("lenet5_variant", activation="gelu")
        said.add(str(caught.value))
    assert len(said) == 1


class Annotated:
    """A network of every kind of annotation."""

    def __init__(
        self,
        rate: float = 0.5,
        name: str | None = None,
        size: Optional[int] = None,  # noqa: UP045
        kind: Literal[1, "two"] = 1,
        sizes: list[int] = [],  # noqa: B006
        free=None,
    ) -> None:
        pass


class ForTypeCheckers:
    """A network with an annotation that cannot be looked up as it runs."""

    def __init__(self, sizes: Sequence[int] = ()) -> None:
        pass


@pytest.mark.parametrize(
    ("argument", "good", "bad", "words"),
    [
        ("rate", (0.5, 1), ("x", True, None), "a number"),
        ("name", ("x", None), (1, False), "a text or null"),
        ("size", (3, None), ("x", 3.0), "a whole number or null"),
        ("kind", (1, "two"), (2, True, "1"), "one of 1, two"),
        ("sizes", ([1], "anything"), (), ""),
        ("free", (1, "x", None), (), ""),
    ],
)
def test_every_kind_of_annotation(argument, good, bad, words) -> None:
    for value in good:
        check_arguments(Annotated, ModelConfig("annotated", arguments={argument: value}))
    for value in bad:
        with pytest.raises(ConfigError, match=f"{argument} must be {words}, not {value!r}"):
            check_arguments(Annotated, ModelConfig("annotated", arguments={argument: value}))


def test_an_annotation_for_type_checkers_alone_is_no_mistake() -> None:
    check_arguments(ForTypeCheckers, ModelConfig("x", arguments={"sizes": 3}))
    with pytest.raises(ConfigError, match=r"model\.arguments\.size: x accepts sizes"):
        check_arguments(ForTypeCheckers, ModelConfig("x", arguments={"size": 3}))


@pytest.mark.parametrize("package", SIDES)
@pytest.mark.parametrize("name", ["deepcnn21", "lenet5_bn", "lenet5_relu"])
def test_every_pool_of_a_network_gets_what_is_said_of_ties(package, name):
    network = build(package, name, ties="all")
    layers = network.leaves().values() if package == "numpy_models" else network.modules()
    assert {layer.ties for layer in layers if hasattr(layer, "ties")} == {"all"}
