"""Runs that are trained together: each equals the run by itself, and keeps its own fate."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.training.op_recorder import OpRecorder
from tests.training.support import compose, few_digits, metrics
from training import together
from training.artefacts import load_weights
from training.backend import Backend, State, Totals, open_backend
from training.checkpoint import load_checkpoint
from training.config import Config
from training.errors import RunError
from training.loop import plan_epoch
from training.torch_backend.capture import RECORDERS, WARM_UP
from training.torch_backend.many import ManyNetworks

#: Of the greatest number in each array, and at least of 1e-2: a grouped convolution sums in
#: another order than a single one. Measured are differences up to 1e-4.
TOLERANCE = 1e-3
# A bias before batch normalisation has a gradient of zero but for rounding, which the default ε
# would bring to the size of the learning rate.
COARSE = "optimizer.eps=1e-4"
OPTIMIZERS = {
    "adam": ("optimizer=adam", COARSE),
    "uncorrected": ("optimizer=adam", "optimizer.eps_mode=uncorrected", COARSE),
    "sgd": ("optimizer=sgd", "optimizer.dampening=0.5"),
    "adagrad": ("optimizer=adagrad", COARSE),
}
NETWORKS = {
    "lenet5_tanh": (),
    "lenet5_bn": ("model.arguments.ties=first",),
    "lenet5_relu": ("model.arguments.ties=all",),
    # The report's rule: under torch's, activations so small that one ReLU may be at its bend.
    "deepcnn21": ("init=he",),
}
COMMON = ("backend=torch", "device=cpu", "trainer.batch_size=16", "data.flip=0.5")
CLI = (
    *("--multirun", "hydra/launcher=together", "backend=torch", "data=digits"),
    *("backend.threads=1", "trainer.epochs=2", "trainer.batch_size=32", "hydra.sweep.dir=all"),
)


def some(*overrides: str, rates: Sequence[float] = (1e-3, 3e-4, 1e-3)) -> list[Config]:
    """Configurations with seeds 0, 1, 2, … and these learning rates."""
    return [
        compose(*COMMON, *overrides, f"seed={seed}", f"optimizer.lr={lr}")
        for seed, lr in enumerate(rates)
    ]


def opened(configs: Sequence[Config]) -> ManyNetworks:
    networks = ManyNetworks(configs)
    networks.place(few_digits(configs[0].model.image_size, train=100))
    return networks


def epochs(networks: ManyNetworks, configs: Sequence[Config], number: int = 2) -> None:
    """Train on 100 images in batches of 16, the last one of 4."""
    for epoch in range(number):
        plans = [plan_epoch(config, 100, epoch) for config in configs]
        for member, plan in zip(networks.members, plans, strict=True):
            member.begin_epoch(plan, Totals())
        for first in range(0, plans[0].steps, 3):
            for member in networks.members:
                member.train(first, min(first + 3, plans[0].steps))
            networks.advance()
        for member in networks.members:
            member.end_epoch()


def alone(config: Config, number: int = 2) -> Backend:
    backend = open_backend(config)
    backend.place(few_digits(config.model.image_size, train=100))
    for epoch in range(number):
        plan = plan_epoch(config, 100, epoch)
        backend.begin_epoch(plan, Totals())
        backend.train(0, plan.steps)
        backend.end_epoch()
    return backend


def assert_close(state: State, expected: State) -> None:
    assert state.keys() == expected.keys()
    for name, array in expected.items():
        assert (state[name].shape, state[name].dtype) == (array.shape, array.dtype), name
        scale = max(1e-2, float(np.abs(array).max()))
        np.testing.assert_allclose(state[name], array, rtol=0, atol=TOLERANCE * scale, err_msg=name)


@pytest.mark.parametrize(
    ("network", "optimizer"),
    [
        *((network, "adam") for network in NETWORKS),
        *(("lenet5_bn", optimizer) for optimizer in ("uncorrected", "sgd", "adagrad")),
        ("deepcnn21", "adagrad"),
    ],
)
def test_each_is_the_run_by_itself(network, optimizer):
    overrides = (f"model={network}", *NETWORKS[network], *OPTIMIZERS[optimizer])
    configs = some(*overrides, "scheduler=step", "scheduler.step_size=1")
    networks = opened(configs)
    epochs(networks, configs)
    for config, member in zip(configs, networks.members, strict=True):
        single = alone(config)
        assert_close(member.state(), single.state())
        assert member.lr == single.lr == config.optimizer.lr / 4
        totals, expected = member.totals(), single.totals()
        assert (totals.correct, totals.images) == (expected.correct, 100)
        assert totals.loss == pytest.approx(expected.loss, rel=1e-5)
        for count in (None, 40):
            np.testing.assert_allclose(
                member.evaluate(count), single.evaluate(count), rtol=0, atol=1e-4
            )
    seeds = [
        member.weights()["c1.weight" if "lenet" in network else "conv1.weight"]
        for member in networks.members
    ]
    assert not np.allclose(seeds[0], seeds[2], atol=1e-2)


def test_initial_weights_may_differ():
    rules = ("init=torch", "init=he", "init=normal", "init=xavier")
    configs = [compose(*COMMON, "model=lenet5_tanh", rule) for rule in rules]
    networks = opened(configs)
    for config, member in zip(configs, networks.members, strict=True):
        expected = open_backend(config).weights()
        for name, array in member.weights().items():
            np.testing.assert_array_equal(array, expected[name], err_msg=name)


@pytest.mark.parametrize("network", ["lenet5_bn", "deepcnn21"])
def test_replayed_steps_are_the_steps(network, monkeypatch):
    overrides = (f"model={network}", "scheduler=step", "scheduler.step_size=1")
    rates = (2**-10, 2**-12, 2**-10)  # float32, in which a graph has them, holds them exactly
    recorder = OpRecorder()
    monkeypatch.setitem(RECORDERS, "cpu", lambda: recorder)
    groups = []
    for mode in ("eager", "graph"):
        configs = some(*overrides, f"backend.mode={mode}", rates=rates)
        groups.append(opened(configs))
        epochs(groups[-1], configs, number=5)
    assert (len(recorder.recordings), recorder.replayed) == (2, 5 * 7 - 2 * WARM_UP)
    for member, twin in zip(*(networks.members for networks in groups), strict=True):
        assert member.totals() == twin.totals()
        for name, array in member.state().items():
            np.testing.assert_array_equal(array, twin.state()[name], err_msg=name)


@pytest.mark.parametrize("network", ["lenet5_bn", "lenet5_relu"])
def test_one_that_diverges_leaves_the_others_alone(network):
    overrides = (f"model={network}", "optimizer=sgd")
    sound, lost = (some(*overrides, rates=(1e-2, 3e-2, rate)) for rate in (1e-1, 1e30))
    groups = [opened(sound), opened(lost)]
    for networks, configs in zip(groups, (sound, lost), strict=True):
        epochs(networks, configs)
    assert np.isnan(groups[1].members[2].totals().loss)
    for number in (0, 1):
        expected, found = (networks.members[number] for networks in groups)
        assert expected.totals() == found.totals()
        for name, array in expected.state().items():
            np.testing.assert_array_equal(found.state()[name], array, err_msg=name)


def test_what_is_trained_together(monkeypatch, tmp_path):
    """Seed, rate and init may differ; jobs that nothing can be trained with run by themselves."""
    changes = ["seed=3", "optimizer.lr=1", "init=normal", "trainer.batch_size=9", "data.flip=0.5"]
    settings = [["seed=0"], *([change] for change in changes), ["data.flip=0.5", "seed=1"]]
    jobs = [
        together.Job(compose("backend=torch", *each), tmp_path / str(number))
        for number, each in enumerate(settings)
    ]
    seen: list[str] = []

    def note(jobs: Sequence[together.Job]) -> dict[together.Job, float]:
        seen.append(" ".join(job.directory.name for job in jobs))
        return {job: float(job.directory.name) for job in jobs}

    monkeypatch.setattr(together, "_train_alike", note)
    monkeypatch.setattr(together, "run", lambda _, place: seen.append(place.name) or 4.0)
    assert together.train(jobs) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert seen == ["0 1 2 3", "4", "5 6"]


@pytest.fixture
def quick(few_digits, no_pictures) -> None:
    """Few digits, and empty pictures."""


def folders(tmp_path: Path) -> list[Path]:
    return sorted(path.parent.parent for path in tmp_path.glob("all/[0-9]*/.hydra/overrides.yaml"))


@pytest.mark.usefixtures("quick")
def test_a_sweep_has_the_ordinary_folders(call_main, tmp_path, capsys):
    settings = ("optimizer=sgd", "seed=0,1", "optimizer.lr=3e-2,1e30", "trainer.log_every=2")
    more = ("trainer.evaluation_samples=10", "trainer.checkpoint_every=2 steps")
    assert call_main(*CLI, *settings, *more) == 1
    output = capsys.readouterr()
    assert "lenet5_relu on torch (cpu, 1 thread), 4 runs together, 2 epochs" in output.out
    assert output.out.count("epoch 1/2  2 runs") == output.out.count("epoch 2/2  2 runs") == 1
    assert "failed jobs: 2, the others went on" in output.err
    assert "in epoch 1, step 2, at learning rate 1e+30; " in output.err
    study = (tmp_path / "all" / "study.csv").read_text().splitlines()
    assert [line.split(",")[:3] for line in study[1:]] == [["0.03", "2", "0"], ["1e+30", "0", "2"]]

    good, lost, *_ = folders(tmp_path)
    status = [json.loads((path / "summary.json").read_text()) for path in folders(tmp_path)]
    assert [each["status"] for each in status] == ["finished", "diverged"] * 2
    assert "trained together with 3 others" in status[0]["notes"][0]
    assert (lost / "failure.txt").exists()

    single = tmp_path / "single"
    by_itself = [*CLI[2:-1], *settings[:1], "optimizer.lr=3e-2", settings[-1], *more]
    assert call_main(*by_itself, "hydra.run.dir=single") == 0
    assert {path.name for path in good.iterdir()} == {path.name for path in single.iterdir()}
    assert_same_results(good, single)

    for path in (good, single):
        assert call_main(f"resume={path}", "trainer.epochs=3") == 0
    assert_same_results(good, single)
    assert len(metrics(good)) == 3
    notes = json.loads((good / "summary.json").read_text())["notes"]
    assert "trained together with 3 others" in notes[0]
    assert notes[1] == "resumed at the end of epoch 2"


def assert_same_results(one: Path, other: Path) -> None:
    for row, expected in zip(metrics(one), metrics(other), strict=True):
        for column in ("epoch", "lr", "train_accuracy", "test_accuracy"):
            assert row[column] == expected[column]
        assert row["test_loss"] == pytest.approx(expected["test_loss"], rel=1e-4)
    assert (one / "evaluations.csv").read_text() == (other / "evaluations.csv").read_text()
    steps, expected = ((path / "steps.csv").read_text().split() for path in (one, other))
    assert [line.split(",")[::2] for line in steps] == [line.split(",")[::2] for line in expected]
    assert_close(*(load_weights(path / "weights.safetensors") for path in (one, other)))


@pytest.mark.usefixtures("quick")
def test_a_signal_saves_all_runs_at_once(call_main, tmp_path, capsys, monkeypatch):
    advance, calls = ManyNetworks.advance, []

    def watched(self: ManyNetworks) -> None:
        advance(self)
        calls.append(1)
        if len(calls) == 4:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(ManyNetworks, "advance", watched)
    assert call_main(*CLI, "optimizer.weight_decay=0,0.1", "seed=0,1,2") == 130
    first, *others = folders(tmp_path)[:3]
    rest, error = capsys.readouterr().err.splitlines()
    assert rest == "train.py: 3 jobs were not started"
    assert error.startswith("train.py: 3 runs stopped by SIGINT, all saved; go on with each by its")
    assert error.endswith(f"the first with: python train.py resume={first}")
    for path in (first, *others):
        record = load_checkpoint(path / "checkpoint.safetensors").record
        assert (record["progress"]["epoch"], record["progress"]["step"]) == (1, 1)
        assert json.loads((path / "summary.json").read_text())["status"] == "interrupted"
    monkeypatch.undo()


@pytest.mark.usefixtures("quick")
def test_what_ends_the_steps_ends_all_runs(call_main, tmp_path, capsys, monkeypatch):
    def fail(self: ManyNetworks) -> None:
        raise RunError("the device has no memory")

    monkeypatch.setattr(ManyNetworks, "advance", fail)
    assert call_main(*CLI, "seed=0,1") == 1
    error = capsys.readouterr().err
    assert "failed jobs: 2" in error
    assert error.count("the device has no memory") == 4  # told at once, and listed
    assert all((path / "failure.txt").exists() for path in folders(tmp_path))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("backend=numpy",), "trains with torch, not with backend=numpy: add backend=torch"),
        (("backend.compile=true",), "backend.compile=true cannot be used with hydra/launcher="),
    ],
)
def test_what_cannot_be_trained_together_is_refused(settings, words, call_main, tmp_path, capsys):
    assert call_main(*CLI, *settings, "seed=0,1") == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_member_goes_on_by_itself_only():
    (member, _) = opened(some("model=lenet5_relu", rates=(1e-3, 1e-3))).members
    with pytest.raises(ValueError, match="cannot be taken up"):
        member.load_state(member.state())
