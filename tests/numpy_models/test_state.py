"""Names, vectors and state dictionaries."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_models import Conv2d, LeNet5BN, LeNet5ReLU, LeNet5Variant


def test_names_and_order_are_torchs() -> None:
    names = list(LeNet5Variant(batch_norm=True, residual=True).state_dict())
    assert names[:9] == [
        *("c1.weight", "c1.bias", "bn1.weight", "bn1.bias"),
        *("bn1.running_mean", "bn1.running_var", "bn1.num_batches_tracked"),
        *("res2.0.weight", "res2.0.bias"),
    ]
    assert list(Conv2d(1, 2, 3).parameters()) == ["weight", "bias"]


def test_state_round_trip_copies() -> None:
    net, other = LeNet5BN(), LeNet5BN()
    rng = np.random.default_rng(0)
    net.forward(rng.standard_normal((4, 1, 28, 28), np.float32))
    state = net.state_dict()
    other.load_state_dict(state)
    state["c1.weight"][...] = 0
    assert np.abs(other.parameters()["c1.weight"]).max() > 0
    assert all(np.array_equal(v, other.state_dict()[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("out.bias"), r"missing \['out.bias'\]"),
        (lambda s: s.update(extra=np.zeros(1)), r"extra \['extra'\]"),
        (lambda s: s.update({"out.bias": np.zeros(9, np.float32)}), r"out.bias.*\(10,\).*\(9,\)"),
        (lambda s: s.update({"out.bias": np.zeros(10)}), r"out.bias.*float32.*float64"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message) -> None:
    net = LeNet5ReLU()
    before, state = net.flat_parameters.copy(), LeNet5ReLU().state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        net.load_state_dict(state)
    assert np.array_equal(net.flat_parameters, before)
