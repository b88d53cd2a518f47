"""The figures: complete, the harness's own verdicts, and the culprit of a planted fault."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import numpy_models
from numpy_models import Adam, ReLU
from parity import compare, networks
from parity.networks import STEPS, NetworkCase, optimizer_of, recipe
from parity.report.measure import arguments_of, measure

from .conftest import UNIT, planted


def test_both_dtypes_modes_and_every_layer_are_measured(right) -> None:
    assert right.passed, right.verdict
    runs = [(run.whole.dtype, run.whole.train) for run in right.runs]
    assert runs == [(d, t) for d in ("float32", "float64") for t in (True, False)]
    layers = ["conv1", "pool1", "bn1", "relu1", "conv2", "pool2", "flatten", "loss"]
    for run in right.runs:
        assert [probe.layer for probe in run.layers] == layers
    assert [len(training.losses) for training in right.trainings] == [STEPS] * 2


def test_verdicts_are_those_of_compare_on_the_same_pair(right) -> None:
    for run in right.runs:
        pair = networks.pair(**arguments_of(UNIT, run.whole.dtype))
        expected = compare(
            pair.torch_module,
            pair.numpy_network,
            pair.inputs,
            pair.targets,
            torch_criterion=pair.torch_criterion,
            numpy_criterion=pair.numpy_criterion,
            train=run.whole.train,
        )
        assert [(t.layer, t.tensor, t.error, t.budget) for t in run.whole.checks] == [
            (c.layer, c.tensor, c.error, c.budget) for c in expected.checks
        ]


def test_the_culprit_of_a_planted_fault(wrong) -> None:
    assert not wrong.passed
    assert wrong.culprit == "conv2"
    assert wrong.verdict.startswith("culprit: conv2 (Conv2d), wrong by itself")
    assert "gradient of weight" in wrong.verdict
    probes = [probe for run in wrong.runs for probe in run.layers]
    guilty = [probe.layer for probe in probes if not probe.comparison.passed]
    assert guilty == ["conv2"] * 4
    _, tensor, check = wrong.closest
    assert tensor in ("conv2, gradient of weight", "conv2 alone, gradient of weight")
    assert not check.passed
    assert all(training.culprits == ["conv2"] for training in wrong.trainings)


def test_a_wrong_optimizer_is_a_culprit_of_the_training_alone(monkeypatch) -> None:
    wrong = replace(
        recipe(*optimizer_of(UNIT)), numpy_optimizer=lambda network: Adam(network, lr=0.01)
    )
    monkeypatch.setattr("parity.report.measure.recipe", lambda *_: wrong)
    network = measure(UNIT)
    assert not any(run.verdict for run in network.runs)
    assert network.culprit == "optimizer"
    assert [len(training.losses) for training in network.trainings] == [1, 1]


class Broken(ReLU):
    def forward_batch_last(self, x):
        raise RuntimeError("no such thing")


def test_a_network_that_raises_is_a_finding_not_a_traceback() -> None:
    network = measure(UNIT, planted(UNIT, "relu1", Broken))
    assert network.culprit == "relu1"
    assert "no such thing" in network.verdict
    for training in network.trainings:
        assert training.losses == []
        assert training.verdict == "stopped by RuntimeError: no such thing"


def test_a_network_that_only_one_side_has_is_a_finding() -> None:
    network = measure(NetworkCase("lenet6", {}, (1, 28, 28)))
    assert not network.passed
    assert "lenet6" in network.problem
    assert "\n" not in network.problem


@pytest.mark.parametrize("seed", [1, 2])
def test_a_seed_gives_the_same_numbers_in_both_dtypes(seed) -> None:
    single, double = (
        networks.pair(**arguments_of(UNIT, d), seed=seed) for d in ("float32", "float64")
    )
    np.testing.assert_array_equal(single.inputs, double.inputs.astype(np.float32))
    np.testing.assert_array_equal(single.targets, double.targets)
    for name, tensor in single.torch_module.state_dict().items():
        assert tensor.equal(double.torch_module.state_dict()[name])


@pytest.mark.parametrize("error", [SyntaxError("invalid syntax"), ImportError("no such name")])
def test_a_network_whose_file_is_broken_is_a_finding(error, monkeypatch) -> None:
    def broken(name, **arguments):
        raise error

    monkeypatch.setattr(numpy_models, "build", broken)
    network = measure(UNIT)
    kind = type(error).__name__
    assert network.problem == f"example_unit cannot be built on both sides: {kind}: {error}"
    assert not network.passed
