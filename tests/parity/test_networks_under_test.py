"""What the project's networks are tried on: the same numbers each time, and from where."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import numpy_models
import torch_models
from parity import networks
from parity.networks import NetworkCase, batches, network_cases, optimizer_of, pair, recipe
from parity.witness import witnesses


def test_the_witnesses_come_first_and_then_what_is_configured(monkeypatch, tmp_path) -> None:
    known = [NetworkCase(w.network, w.arguments, w.input) for w in witnesses()]
    for name, text in {
        "b": "name: second\nimage_size: 32\narguments: {depth: 5}\n",
        "a": "",
        "c": f"name: {known[0].name}\nimage_size: 99\n",
        "d": "arguments:\n",
    }.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    monkeypatch.setattr(networks, "_CONFIGURATIONS", tmp_path)
    assert network_cases() == [
        *known,
        NetworkCase("a", {}, (1, 28, 28)),
        NetworkCase("second", {"depth": 5}, (1, 32, 32)),
        NetworkCase("d", {}, (1, 28, 28)),
    ]
    assert str(NetworkCase("net", {"a": 1, "b": "x"}, (1, 2, 3))) == "net(a=1, b=x)"
    assert str(NetworkCase("net", {}, (1, 2, 3))) == "net"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_pair_is_the_same_numbers_in_both_dtypes(dtype) -> None:
    state = torch.get_rng_state()
    made = pair("lenet5_tanh", dtype, batch=3, seed=7)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(7)
    expected = torch_models.build("lenet5_tanh")
    for name, value in made.torch_module.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name
    rng = np.random.default_rng((7, 2))
    images = rng.standard_normal((3, 1, 32, 32)).astype(dtype)
    np.testing.assert_array_equal(made.inputs, images, strict=True)
    np.testing.assert_array_equal(made.targets, rng.integers(0, 10, 3))
    assert {p.dtype for p in made.numpy_network.parameters().values()} == {np.dtype(dtype)}
    assert isinstance(made.torch_criterion, nn.CrossEntropyLoss)
    assert isinstance(made.numpy_criterion, numpy_models.CrossEntropyLoss)
    assert (made.seed, made.vary, made.name) == (7, False, "lenet5_tanh")
    usual = pair("deepcnn21", depth=4)
    assert (len(usual.inputs), usual.inputs.dtype, usual.seed) == (8, np.float32, 0)
    assert usual.name == "deepcnn21(depth=4)"
    assert usual.inputs.shape[1:] == (1, 28, 28)
    assert len(dict(usual.torch_module.named_modules())) < len(
        dict(pair("deepcnn21").torch_module.named_modules())
    )
    assert pair("linear_baseline").inputs.shape == (8, 1, 28, 28)


def test_a_network_that_nothing_is_said_of_is_given_small_images(monkeypatch) -> None:
    monkeypatch.setattr(networks, "network_cases", list)
    assert pair("lenet5_relu").inputs.shape == (8, 1, 28, 28)


def test_both_sides_train_by_one_recipe() -> None:
    assert optimizer_of(NetworkCase("lenet5_tanh", {}, (1,))) == ("Adam", {"lr": 1e-3})
    assert optimizer_of(NetworkCase("of_nobody", {}, (1,))) == ("Adam", {"lr": 1e-3})
    assert optimizer_of(NetworkCase("example_unit", {}, (1,)))[0] == "SGD"
    how, module = recipe("Adam", {"lr": 0.25, "eps_mode": "inside_root"}), nn.Linear(2, 2)
    network = numpy_models.Sequential(numpy_models.Linear(2, 2))
    theirs, ours = how.torch_optimizer(module.parameters()), how.numpy_optimizer(network)
    assert type(theirs) is torch_models.Adam
    assert type(ours) is numpy_models.Adam
    assert (theirs.param_groups[0]["lr"], ours.lr) == (0.25, 0.25)
    assert how.torch_schedule is not None
    assert how.numpy_schedule is not None
    schedules = how.torch_schedule(theirs), how.numpy_schedule(ours)
    rates = []
    for _ in range(6):
        theirs.step()
        for schedule in schedules:
            schedule.step()
        rates.append((theirs.param_groups[0]["lr"], ours.lr))
    assert rates == [(rate, rate) for rate in (0.25, 0.25, 0.125, 0.125, 0.125, 0.0625)]
    assert how.epoch_steps == 4
    assert type(recipe("SGD", {"lr": 1}).torch_optimizer(module.parameters())) is torch.optim.SGD
    assert isinstance(how.torch_criterion, nn.CrossEntropyLoss)
    assert isinstance(how.numpy_criterion, numpy_models.CrossEntropyLoss)


def test_batches_are_noisy_prototypes() -> None:
    made = batches((2, 3), np.float32, seed=5)
    rng = np.random.default_rng((5, 3))
    prototypes = rng.random((10, 2, 3))
    assert len(made) == 25
    for samples, targets in made:
        expected = rng.integers(0, 10, 4)
        np.testing.assert_array_equal(targets, expected)
        noisy = prototypes[expected] + 0.3 * rng.random((4, 2, 3))
        np.testing.assert_array_equal(samples, noisy.astype(np.float32), strict=True)
    np.testing.assert_array_equal(batches((2,), "float64")[3][0], batches((2,), "float64", 0)[3][0])
    assert not np.array_equal(batches((2,), "float64")[3][0], batches((2,), "float64", 1)[3][0])
