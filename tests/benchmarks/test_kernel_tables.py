"""What is measured under every set of kernels: curves of both backends, and the trajectory rule."""

from __future__ import annotations

from dataclasses import replace

from benchmarks import curves, report, trajectories
from numpy_models import SGD
from parity.networks import network_cases, recipe
from tests import forked
from tests.benchmarks.samples import content


def rows(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in text.splitlines()
        if line[:1] == "|"
    ]


def test_both_backends_of_each_network_are_held_together(monkeypatch, tmp_path):
    def fork(command, **_):
        return forked.run(tmp_path, forked.train, *command[2:])

    monkeypatch.setattr(curves.subprocess, "run", fork)
    models = ["lenet5_avgpool", "linear_baseline"]
    monkeypatch.setattr(curves, "MODELS", models)
    trained = curves.work({"threads": 1, "seed": 3, "epochs": 1})
    assert list(trained) == models
    for difference in curves.differences(trained).values():
        assert 0 < difference < 1e-2  # other roundings, the same training
    across = {model: trained[model]["numpy"] for model in models}
    assert curves.differences({"across": across})["across"] > 0.1


def test_the_largest_difference_of_a_loss_is_shown():
    mine = [{"train_loss": 2.0, "test_loss": 1.0}, {"train_loss": 1.0, "test_loss": 0.5}]
    theirs = [{"train_loss": 2.0, "test_loss": 1.25}, {"train_loss": 0.5, "test_loss": 0.5}]
    assert curves.differences({"one": {"numpy": mine, "torch": theirs}}) == {"one": 0.5}
    record = content(
        benchmark="curves",
        settings={"data": "digits", "seed": 7, "epochs": 2},
        lacking={"vax": "asked in vain"},
        results={"native": {"one": 1e-7, "two": 2e-3}, "sse4": {"one": 3e-7, "two": 1e-3}},
    )
    text = report.sections([record])["curves"]
    assert rows(text)[2:] == [
        ["native", "1.0e-07", "2.0e-03"],
        ["sse4", "3.0e-07", "1.0e-03"],
        ["largest", "3.0e-07", "2.0e-03"],
    ]
    assert text.endswith("- vax: asked in vain")


def test_the_trajectory_rule_is_tried_on_right_and_wrong_pairs(monkeypatch):
    unit = next(case for case in network_cases() if case.name == "example_unit")
    monkeypatch.setattr(trajectories, "network_cases", lambda: [unit])
    job = {"seeds": [5], "threads": 1, "faults": False}
    right = trajectories.work(job)
    assert 0 < right["shares"]["example_unit"] <= 1
    assert right["alarms"] == []
    monkeypatch.setattr(
        trajectories,
        "recipe",
        lambda *how: replace(recipe(*how), numpy_optimizer=lambda net: SGD(net, lr=0.02)),
    )
    wrong = trajectories.work(job)
    assert wrong["shares"]["example_unit"] > 1
    assert [alarm.partition(":")[0] for alarm in wrong["alarms"]] == [
        "example_unit, float32, seed 5",
        "example_unit, float64, seed 5",
    ]
    results = {"a": right, "b": wrong}
    record = content(benchmark="trajectories", seeds=2, lacking={}, results=results)
    text = report.sections([record])["trajectories"]
    assert rows(text)[0] == ["network", "a", "b", "all"]
    assert rows(text)[2][0] == "example_unit"
    assert "2 seeds, each in float32 and float64: 2 false alarms" in text
