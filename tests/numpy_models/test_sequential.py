"""Stacks of layers, nested or not, and residual connections."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_models import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Residual, Sequential


def layers() -> list:
    return [Conv2d(1, 2, 3), ReLU(), Flatten(), Linear(8, 3)]


def test_nesting_changes_names_only() -> None:
    flat = Sequential(*layers())
    conv, relu, *head = (layer.copy() for layer in flat.layers.values())
    nested = Sequential(body=Sequential(Sequential(conv), relu), head=Sequential(*head))
    x = np.random.default_rng(0).standard_normal((4, 1, 4, 4), np.float32)
    y = flat(x)
    assert np.array_equal(nested(x), y)
    assert np.array_equal(nested.backward(y), flat.backward(y))
    assert np.array_equal(nested.flat_gradients, flat.flat_gradients)
    assert list(nested.parameters()) == [
        *("body.0.0.weight", "body.0.0.bias", "head.1.weight", "head.1.bias"),
    ]
    body = nested.layers["body"]
    assert np.shares_memory(body.flat_parameters, nested.flat_parameters)
    assert np.array_equal(body.flat_gradients, nested.flat_gradients[: body.flat_gradients.size])


def test_shapes_are_told_leaf_by_leaf_and_a_refusal_names_the_way() -> None:
    net = Sequential(body=Sequential(conv=Conv2d(1, 2, 3)), head=Sequential(Flatten()))
    rows = [(name, shape) for name, _, shape in net.output_shapes((1, 4, 5))]
    assert rows == [("body.conv", (2, 2, 3)), ("head.0", (12,))]
    with pytest.raises(ValueError, match="layer body: Sequential, layer conv: Conv2d expects 1"):
        net.output_shapes((2, 4, 5))


def test_a_layer_belongs_to_one_network() -> None:
    net, relu = Sequential(*layers()), ReLU()
    for taken in (net.layers["0"], net.layers["1"]):
        with pytest.raises(ValueError, match=r"already belongs .* layer.copy\(\)"):
            Sequential(taken)
    with pytest.raises(ValueError, match="already belongs"):
        Sequential(relu, relu)
    alone = Sequential(net.layers["0"].copy())
    assert np.array_equal(alone.parameters()["0.weight"], net.parameters()["0.weight"])


@pytest.mark.parametrize(("given", "message"), [((), "at least one layer"), ((3,), "got 3 as 0")])
def test_what_is_no_stack_is_refused(given, message) -> None:
    with pytest.raises(ValueError, match=message):
        Sequential(*given)


@pytest.mark.parametrize("ties", ["first", "all"])
def test_pooling_before_relu_changes_no_bit(ties) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 3, (8, 2, 6, 6)).astype(np.float32)  # ties, and windows without a positive
    x[0, 0, :3, :3] = -1, np.nan, np.inf
    dy = rng.standard_normal((8, 2, 3, 3), np.float32)
    relu, pool = ReLU(), MaxPool2d(2, ties=ties)
    expected, expected_dx = pool(relu(x)), relu.backward(pool.backward(dy))
    both = Sequential(ReLU(), MaxPool2d(2, ties=ties))
    assert np.array_equal(both(x), expected, equal_nan=True)
    assert np.array_equal(both.backward(dy), expected_dx)


def test_a_residual_adds_its_input_both_ways() -> None:
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 3, 2, 5, 5))
    inner = Conv2d(2, 2, 3, padding=1).to(np.float64)
    residual = Residual(inner.copy())
    np.testing.assert_array_equal(residual(x), x + inner(x))
    np.testing.assert_array_equal(residual.backward(dy), dy + inner.backward(dy))
    np.testing.assert_array_equal(residual.flat_gradients, inner.flat_gradients)


def test_a_residual_refuses_layers_that_change_the_shape() -> None:
    with pytest.raises(ValueError, match=r"keep the shape .* \(1, 4, 4\) into \(1, 2, 2\)"):
        Residual(Conv2d(1, 1, 3))(np.zeros((1, 1, 4, 4), np.float32))
