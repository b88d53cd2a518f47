"""What a command line asks for, and that Hydra is handed the same."""

from __future__ import annotations

import pytest

from tests.forked import run, train
from training.cli.arguments import parse
from training.cli.jobs import Request, follow, read, told
from training.config.schema import Config
from training.errors import ConfigError


def request(*arguments: str) -> Request:
    return read(parse(arguments))


def configs(*arguments: str) -> list[Config]:
    return [job.config for job in request(*arguments).jobs]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("+foo=1",), "there is no setting foo"),
        (("++foo={a: 1}",), "there is no setting foo.a"),
        (
            ("+trainer.epoch=1", "trainer.epochs=2"),
            "there is no setting trainer.epoch (did you mean trainer.epochs?)",
        ),
        (("--multirun", "+trainer.zoom=1,2"), "there is no setting trainer.zoom"),
    ],
)
def test_an_added_setting_that_nothing_reads(arguments, words) -> None:
    with pytest.raises(ConfigError) as caught:
        request(*arguments)
    assert str(caught.value) == words


def test_what_a_network_may_be_given_is_added() -> None:
    (job,) = configs("+model.arguments.width={a: 1}")
    assert job.model.arguments == {"ties": "first", "width": {"a": 1}}
    (job,) = configs("optimizer=sgd", "++optimizer.nesterov=true")
    assert job.optimizer.nesterov is True


@pytest.mark.parametrize(
    "arguments",
    [
        ("seed=0,1", "data=digits", "--multirun"),
        ("seed=0,1", "--multirun", "data=digits"),
    ],
)
def test_settings_stand_before_and_after_options(arguments) -> None:
    found = request(*arguments)
    assert [job.config.seed for job in found.jobs] == [0, 1]


def test_an_unknown_option_is_named_alone() -> None:
    with pytest.raises(
        ConfigError, match=r"no option --epochs=3;.*did you mean trainer\.epochs"
    ) as e:
        request("seed=1", "--epochs=3", "data=digits")
    assert "data" not in str(e.value)
    with pytest.raises(ConfigError, match="package"):
        request("seed=1", "--package")


@pytest.mark.usefixtures("few_digits", "no_pictures")
def test_hydra_is_handed_the_same(call_main, tmp_path, capsys) -> None:
    quick = ("trainer.epochs=1", "backend=numpy", "backend.threads=1", "hydra.sweep.dir=all")
    assert call_main("data=digits", "--multirun", "seed=0,1", *quick) == 0
    assert len(list(tmp_path.glob("all/*/metrics.csv"))) == 2
    capsys.readouterr()
    assert call_main("seed=3", "--cfg", "job", "data=digits", "--package", "data") == 0
    assert "name: digits" in capsys.readouterr().out
    # In a process of its own: Hydra leaves its log changed.
    told = run(tmp_path, train, "seed=3", "data=digits", "--info")
    assert "seed: 3" in told.stdout, told.stderr


@pytest.mark.parametrize("arguments", [(), ("--multirun",)])
def test_an_interval_is_no_sweep(arguments) -> None:
    with pytest.raises(
        ConfigError, match=r"optimizer\.lr=interval\(0,1\) gives an interval.*a,b,c"
    ):
        request(*arguments, "optimizer.lr=interval(0,1)")


def test_an_interval_in_a_file_is_no_sweep(tmp_path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "wide.yaml").write_text(
        "# @package _global_\n"
        "hydra: {mode: MULTIRUN, sweeper: {params: {optimizer.lr: 'interval(0,1)'}}}\n"
    )
    with pytest.raises(ConfigError, match=r"optimizer\.lr=interval\(0,1\) gives an interval"):
        request(f"hydra.searchpath=[file://{tmp_path}]", "study=wide")


@pytest.mark.parametrize(
    "arguments",
    [
        ("scheduler=step", "scheduler.gamma=0.1"),
        ("scheduler.step_size=3", "scheduler.gamma=0.1"),
        ("experiment=r1_lenet5_tanh", "scheduler.gamma=0.1"),
        ("--multirun", "scheduler.step_size=null,3", "scheduler.gamma=0.1"),
    ],
)
def test_a_factor_that_some_job_uses(arguments) -> None:
    assert {job.scheduler.gamma for job in configs(*arguments)} == {0.1}


def test_several_runs_are_not_taken_up_at_once() -> None:
    with pytest.raises(ConfigError, match="resume takes one run"):
        request("--multirun", "resume=a,b")


@pytest.mark.parametrize(
    "arguments", [("seed=3",), ("--multirun", "seed=shuffle(range(0,4))", "init=torch,he")]
)
def test_the_other_ranks_compose_what_rank_0_has_found(arguments) -> None:
    first = read(parse(arguments))
    other = follow(told(first))
    assert [job.config for job in other.jobs] == [job.config for job in first.jobs]
    assert (other.sweep, other.here) == (first.sweep, True)
