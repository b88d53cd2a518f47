"""Every experiment says what its report says, and every experiment and study takes a step."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from omegaconf import OmegaConf

from tests.support import ROOT, compose, few_digits
from training.backends.opening import open_backend
from training.backends.protocol import Totals
from training.backends.ranks import ALONE
from training.cli.arguments import parse
from training.cli.jobs import read
from training.config.schema import Config, NumpyBackendConfig, TorchBackendConfig
from training.data import epoch_batches
from training.trainer.plan import plan_epoch

EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))
STUDIES = sorted(path.stem for path in (ROOT / "conf" / "study").glob("*.yaml"))

# The reports' own words: model, backend, optimizer, lr, batch, epochs, steps an epoch on MNIST,
# init, sampling, flip, step size of the schedule.
REPORTS = {
    "r0_lenet5_relu": (
        *("lenet5_relu", "numpy", "adam", 1e-3, 256, 10, 234),
        *("normal", "replacement", 0.0, None),
    ),
    "r0_linear_baseline": (
        *("linear_baseline", "numpy", "adam", 1e-3, 256, 6, 250),
        *("normal", "replacement", 0.0, None),
    ),
    "r1_lenet5_tanh": (
        *("lenet5_tanh", "torch", "adam", 1e-5, 128, 300, 469),
        *("torch", "shuffle", 0.5, 20),
    ),
    "r2_deepcnn21": (
        *("deepcnn21", "numpy", "adagrad", 1e-2, 500, 8, 120),
        *("he", "shuffle", 0.0, None),
    ),
    "r3_lenet5_avgpool": (
        *("lenet5_avgpool", "numpy", "adam", 1e-3, 64, 2, 938),
        *("torch", "shuffle", 0.0, None),
    ),
    "r4_lenet5_bn": (
        *("lenet5_bn", "numpy", "adam", 1e-3, 128, 20, 469),
        *("torch", "shuffle", 0.0, None),
    ),
    "ninety_nine": (  # no report's
        *("lenet5_bn", "numpy", "adam", 8e-3, 256, 4, 235),
        *("torch", "shuffle", 0.0, 1),
    ),
    # The recipes of the weights in pretrained/, all trained on rotated and shifted images.
    "best_deepcnn21": (
        *("deepcnn21", "numpy", "adam", 3e-3, 128, 16, 469),
        *("torch", "shuffle", 0.0, 4),
    ),
    "best_lenet5_bn": (
        *("lenet5_bn", "numpy", "adam", 3e-3, 128, 24, 469),
        *("torch", "shuffle", 0.0, 6),
    ),
    **{
        f"best_{network}": (
            *(network, "numpy", "adam", 3e-3, 128, 12, 469),
            *("torch", "shuffle", 0.0, 3),
        )
        for network in ("lenet5_relu", "lenet5_tanh", "lenet5_avgpool")
    },
}


@lru_cache
def jobs(*arguments: str) -> tuple[Config, ...]:
    return tuple(job.config for job in read(parse(arguments)).jobs)


def take_a_step(config: Config, backend: str) -> Totals:
    dataset = few_digits(config.model.image_size)
    kind = {"torch": TorchBackendConfig, "numpy": NumpyBackendConfig}[backend]
    config = replace(config, backend=kind(threads=1))
    config = replace(config, trainer=replace(config.trainer, batch_size=16))
    opened = open_backend(config, ALONE)
    opened.place(dataset)
    opened.begin_epoch(plan_epoch(config, len(dataset.train_labels), 0), Totals())
    opened.train(0, 1)
    return opened.totals()


def test_every_experiment_is_in_the_table() -> None:
    assert set(EXPERIMENTS) == set(REPORTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_recipe_is_the_reports(name: str) -> None:
    (config,) = jobs(f"experiment={name}")
    trainer = config.trainer
    batches = epoch_batches(
        60000,
        trainer.batch_size,
        config.data.sampling,
        np.random.default_rng(0),
        trainer.steps_per_epoch,
    )
    assert config.data.name == "mnist"
    assert (
        config.model.name,
        config.backend.name,
        config.optimizer.name,
        config.optimizer.lr,
        trainer.batch_size,
        trainer.epochs,
        len(batches),
        config.init.name,
        config.data.sampling,
        config.data.flip,
        config.scheduler.step_size,
    ) == REPORTS[name]


def test_the_reports_numerical_peculiarities() -> None:
    configs = {name: jobs(f"experiment={name}")[0] for name in EXPERIMENTS}
    modes = {n: getattr(c.optimizer, "eps_mode", None) for n, c in configs.items()}
    assert modes["r0_lenet5_relu"] == "uncorrected"
    assert modes["r3_lenet5_avgpool"] == "inside_root"
    assert configs["r0_lenet5_relu"].optimizer.eps == 1e-7
    assert configs["r2_deepcnn21"].optimizer.eps == 1e-7
    assert configs["r0_lenet5_relu"].model.arguments == {"ties": "all"}
    assert configs["r4_lenet5_bn"].model.arguments == {"ties": "all"}
    assert configs["r2_deepcnn21"].model.arguments["dropout"] == "original"
    assert configs["r1_lenet5_tanh"].model.image_size == 32
    assert configs["r1_lenet5_tanh"].scheduler.gamma == 0.5
    assert len(np.arange(60000)[468 * configs["r1_lenet5_tanh"].trainer.batch_size :]) == 96


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_either_backend_takes_the_same_first_step(name: str) -> None:
    (config,) = jobs(f"experiment={name}")
    ours, theirs = (take_a_step(config, backend) for backend in ("numpy", "torch"))
    assert ours.images == theirs.images == 16
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-4)


def test_nothing_stands_in_for_mnist(call_main, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("MNIST_ROOT", raising=False)
    nowhere = f"data.root={tmp_path / 'nowhere'}"
    assert call_main("experiment=r1_lenet5_tanh", nowhere, "data.download=false") == 2
    assert "nowhere" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def swept(name: str) -> dict[str, list[str]]:
    """What a study sweeps over."""
    file = OmegaConf.load(ROOT / "conf" / "study" / f"{name}.yaml")
    return {key: str(values).split(",") for key, values in file.hydra.sweeper.params.items()}


@pytest.mark.parametrize("name", STUDIES)
def test_every_job_of_a_study_takes_a_step(name: str) -> None:
    """Those of its first seed, that is: others are composed and trained alike."""
    recipe = ("experiment=r0_lenet5_relu",) if name == "seeds" else ()
    (first, *_) = swept(name).get("seed", ["0"])
    configs = jobs(f"study={name}", f"seed={first}", *recipe)
    assert {config.seed for config in configs} == {int(first)}
    assert len({repr(config) for config in configs}) == len(configs)
    assert {config.data.name for config in configs} == {"mnist"}
    for config in configs:
        totals = take_a_step(config, "numpy")
        assert totals.images == 16
        assert np.isfinite(totals.loss)


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_changes_its_recipe_by_what_it_sweeps_alone(name: str) -> None:
    file = OmegaConf.load(ROOT / "conf" / "study" / f"{name}.yaml")
    assert set(file) <= {"defaults", "study", "hydra"}
    assert set(file.hydra) == {"mode", "sweeper"}
    assert set(file.hydra.sweeper) == {"params"}
    values = swept(name)
    assert max(map(len, values.values())) >= 2
    assert len({*values.get("seed", [])}) == len(values.get("seed", []))
    assert all(seed.strip().isdecimal() for seed in values.get("seed", []))


def test_the_variant_network_is_the_reports_until_an_option_is_set() -> None:
    plain, variant, other = (
        take_a_step(compose("experiment=r1_lenet5_tanh", *options), "numpy")
        for options in (
            (),
            ("model=lenet5_variant",),
            ("model=lenet5_variant", "model.arguments.residual=true"),
        )
    )
    assert plain == variant
    assert plain.loss != other.loss


def test_steps_per_epoch_needs_replacement(call_main, capsys) -> None:
    assert call_main("data=digits", "trainer.steps_per_epoch=3") == 2
    assert "data.sampling=replacement" in capsys.readouterr().err


@pytest.mark.parametrize(("scale", "overflows"), [(1.0, True), (0.1, False)])
def test_the_printed_scale_overflows_the_printed_softmax(scale: float, overflows: bool) -> None:
    (config,) = jobs("experiment=r0_lenet5_relu", f"init.linear_std={scale}")
    backend = open_backend(config, ALONE)
    backend.place(few_digits(28))
    logits = backend.evaluate().astype(np.float64)
    with np.errstate(over="ignore"):
        assert bool(np.isinf(np.exp(logits)).any()) == overflows
