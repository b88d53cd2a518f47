"""Experiments with another option than their own."""

from __future__ import annotations

import pytest
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from training.config.composition import composer
from training.errors import ConfigError

OPTIMIZER = (
    "experiment=r2_deepcnn21: optimizer.lr, optimizer.eps, optimizer.lr_decay, "
    "optimizer.initial_accumulator_value, optimizer.weight_decay give way to optimizer=adam"
)
NETWORK = (
    "experiment=r2_deepcnn21: model.arguments.hidden, model.arguments.depth, "
    "model.arguments.dropout, model.arguments.ties give way to model=lenet5_bn"
)


@pytest.mark.parametrize(
    ("settings", "note", "values"),
    [
        (
            ["experiment=r2_deepcnn21", "optimizer=adam"],
            OPTIMIZER,
            {"optimizer.lr": 1e-3, "optimizer.eps": 1e-8, "model.arguments.hidden": 50},
        ),
        (
            ["study=r2_init", "optimizer.lr=0.5", "optimizer=adam"],  # of the same experiment
            OPTIMIZER,
            {"optimizer.lr": 0.5, "study.form": "curves", "trainer.batch_size": 500},
        ),
        (
            ["experiment=r2_deepcnn21", "model=lenet5_bn"],
            NETWORK,
            {"model.name": "lenet5_bn", "optimizer.lr": 0.01, "optimizer.eps": 1e-7},
        ),
        (
            ["experiment=r1_lenet5_tanh", "scheduler=constant"],
            "experiment=r1_lenet5_tanh: scheduler.step_size, scheduler.gamma give way to "
            "scheduler=constant",
            {"scheduler.step_size": None, "optimizer.lr": 1e-5},
        ),
        # Their own option, and one with the same settings.
        (
            ["experiment=r2_deepcnn21", "optimizer=adagrad", "data=digits"],
            None,
            {"optimizer.eps": 1e-7, "data.scaling": "unit"},
        ),
    ],
)
def test_what_belongs_to_another_option_gives_way(settings, note, values) -> None:
    with composer() as opened:
        composed = opened.compose(settings)
        assert list(opened.notes) == ([note] if note else [])
        assert {key: OmegaConf.select(composed, key) for key in values} == values
        record = composed.hydra
        name = "r1_lenet5_tanh" if "r1_lenet5_tanh" in settings[0] else "r2_deepcnn21"
        assert record.runtime.choices.experiment == name
        assert set(record.overrides.task) - {f"experiment={name}"} <= set(settings)
        assert "__" not in record.job.override_dirname
        opened.check(composed)


def test_an_experiment_that_does_not_fit_its_own_option() -> None:
    odd = {"optimizer": {"momentum": 0.9}}
    ConfigStore.instance().store("odd", odd, group="experiment", package="_global_")
    for settings, remedy in (
        (["experiment=odd"], "take it out of that file"),
        (["optimizer=adam", "experiment=odd"], "leave one of them out"),
    ):
        words = f"{' with '.join(sorted(settings, key=len))}: optimizer.momentum is set"
        with composer() as opened, pytest.raises(ConfigError) as caught:
            opened.compose(settings)
        assert str(caught.value) == f"{words}, which Adam does not have; {remedy}"
