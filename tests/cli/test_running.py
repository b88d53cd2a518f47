"""Jobs in this process: composed once, recorded as Hydra does, and undone by a mistake."""

from __future__ import annotations

import csv

import pytest
from omegaconf import OmegaConf

import training.config.composition
from tests.support import at_step, train_py

pytestmark = pytest.mark.usefixtures("few_digits", "no_pictures")

QUICK = ("data=digits", "trainer.epochs=1", "backend=numpy", "backend.threads=1")


@pytest.fixture
def composed(monkeypatch) -> list[list[str]]:
    """The settings of each composition, as they are composed."""
    calls = []
    compose = training.config.composition.compose

    def counted(name, overrides, **options):
        calls.append(overrides)
        return compose(name, overrides, **options)

    monkeypatch.setattr(training.config.composition, "compose", counted)
    return calls


def test_a_run_is_composed_once(composed, call_main, tmp_path) -> None:
    assert call_main(*QUICK, "hydra.run.dir=here") == 0
    assert composed == [[*QUICK, "hydra.run.dir=here"]]
    composed.clear()
    assert call_main(f"resume={tmp_path / 'here'}", "trainer.epochs=2") == 0
    assert len(composed) == 1


def test_each_job_of_a_sweep_is_composed_once(composed, call_main) -> None:
    assert call_main("--multirun", *QUICK, "seed=3,4", "hydra.sweep.dir=all") == 0
    # The first finds out that it is a sweep; the report at its end composes the recipe.
    jobs = [settings for settings in composed if "hydra.sweep.dir=all" in settings]
    assert [settings[-2] for settings in jobs] == ["seed=3", "seed=3", "seed=4"]


def test_hydras_record(call_main, tmp_path) -> None:
    sweep = ("--multirun", *QUICK, "seed=3,4", "optimizer=sgd", "hydra.sweep.dir=all")
    assert call_main(*sweep) == 0
    record = tmp_path / "all" / "1_lenet5_relu_numpy" / ".hydra"
    assert OmegaConf.load(record / "overrides.yaml") == [*QUICK, "seed=4", "optimizer=sgd"]
    config = OmegaConf.load(record / "config.yaml")
    assert (config.seed, config.optimizer.name) == (4, "sgd")
    assert "hydra" not in config
    hydra = OmegaConf.load(record / "hydra.yaml").hydra
    assert hydra.runtime.choices.optimizer == "sgd"
    assert hydra.runtime.output_dir == str(record.parent)
    assert (hydra.job.num, hydra.mode) == (1, "MULTIRUN")


def test_the_hydra_resolver_knows_the_job(call_main, tmp_path) -> None:
    seed = "study.title='job ${hydra:job.num} ${hydra:runtime.choices.model}'"
    assert call_main("--multirun", *QUICK, "seed=3,4", seed, "hydra.sweep.dir=all") == 0
    for number in (0, 1):
        (folder,) = (tmp_path / "all").glob(f"{number}_*")
        title = OmegaConf.load(folder / "config.yaml").study.title
        assert title == f"job {number} lenet5_relu"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("hydra.run.dir=",), "hydra.run.dir is empty"),
        (("hydra.run.dir='a\n'b",), "hydra.run.dir"),
        (("hydra.run.dir=mine",), "is not empty: choose another folder with hydra.run.dir=..."),
        (("--multirun", "seed=3,4", "hydra.sweep.subdir=same"), "several jobs the folder same"),
        (("--multirun", "seed=3,4", "hydra.sweep.dir="), "hydra.sweep.dir is empty"),
        (("--multirun", "seed=3,4", "hydra.sweep.dir=mine"), "choose another folder with hydra.s"),
    ],
)
def test_what_is_there_is_never_written_over(arguments, words, call_main, tmp_path, capsys) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text("a user's own")
    assert call_main(*QUICK, *arguments) == 2
    assert words in (said := capsys.readouterr().err)
    assert said.count("\n") == 1
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == [
        "mine",
        "mine/config.yaml",
    ]
    assert (tmp_path / "mine" / "config.yaml").read_text() == "a user's own"


def test_a_run_that_died_before_its_first_save_is_begun_again(
    call_main, tmp_path, monkeypatch
) -> None:
    with monkeypatch.context() as patch:
        at_step(patch, 1, lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            call_main(*QUICK, "hydra.run.dir=run")
    assert (tmp_path / "run" / "metrics.csv").exists()
    assert call_main(*QUICK, "hydra.run.dir=run") == 0
    assert call_main(*QUICK, "hydra.run.dir=run") == 2


def test_a_recipe_that_gives_way_says_so_and_is_resumed(call_main, tmp_path, capsys) -> None:
    other = ("experiment=r3_lenet5_avgpool", "data=digits", "optimizer=sgd")
    assert call_main(*QUICK, *other, "hydra.run.dir=run") == 0
    told = capsys.readouterr().out.splitlines()[0]
    assert told.startswith("experiment=r3_lenet5_avgpool: optimizer.lr, ")
    assert told.endswith(" give way to optimizer=sgd")
    record = (tmp_path / "run" / ".hydra" / "hydra.yaml").read_text()
    assert "experiment: r3_lenet5_avgpool\n" in record
    assert "__" not in (tmp_path / "run" / ".hydra" / "overrides.yaml").read_text()
    assert call_main("resume=run", "trainer.epochs=2") == 0
    assert "name: sgd" in (tmp_path / "run" / "config.yaml").read_text()
    assert call_main(*QUICK, *other, "--cfg", "job") == 0
    assert "name: sgd" in capsys.readouterr().out


def test_a_mistake_in_the_first_job_leaves_nothing(call_main, tmp_path, capsys) -> None:
    wrong = "model.arguments.ties=some,all"
    (tmp_path / "mine").mkdir()
    assert call_main("--multirun", *QUICK, wrong, "hydra.sweep.dir=mine/new/all") == 2
    assert "model.arguments.ties must be one of first, all" in capsys.readouterr().err
    assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]


@pytest.mark.parametrize("linked", [False, True])
def test_a_mistake_leaves_a_users_empty_folder(linked, call_main, tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    there = [tmp_path / "mine"]
    if linked:
        (tmp_path / "link").symlink_to("mine")
        there.append(tmp_path / "link")
    assert call_main(*QUICK, "model.image_size=3", f"hydra.run.dir={there[-1].name}") == 2
    assert sorted(tmp_path.iterdir()) == sorted(there)
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_mistake_in_another_job_is_that_jobs_own(call_main, tmp_path, capsys) -> None:
    wrong = "model.arguments.ties=all,some"
    assert call_main("--multirun", *QUICK, wrong, "hydra.sweep.dir=all") == 1
    assert "failed jobs: 1, the others continued" in capsys.readouterr().err
    with (tmp_path / "all" / "study.csv").open(newline="") as file:
        assert [row["failed"] for row in csv.DictReader(file)] == ["0", "1"]
    assert "ties" in (tmp_path / "all" / "1_lenet5_relu_numpy" / "failure.txt").read_text()


def test_what_only_hydra_could_do_is_refused(call_main, tmp_path, capsys) -> None:
    for wish in ("hydra.job.chdir=true", "+hydra.job.env_set.A=1"):
        assert call_main(*QUICK, wish) == 2
        assert "not supported: leave them out" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("subdir", ["../mine", "mine", "metrics.csv", "."])
def test_hydras_record_has_its_place(subdir, call_main, tmp_path, capsys) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text("a user's own")
    assert call_main(*QUICK, f"hydra.output_subdir={subdir}", "hydra.run.dir=run") == 2
    said = "train.py: hydra.output_subdir is .hydra or null here: leave it out\n"
    assert capsys.readouterr().err == said
    assert not (tmp_path / "run").exists()
    assert (tmp_path / "mine" / "config.yaml").read_text() == "a user's own"
    assert call_main(*QUICK, "hydra.output_subdir=null", "hydra.run.dir=run") == 0


def test_interrupted_while_libraries_are_read(tmp_path) -> None:
    (tmp_path / "numpy.py").write_text("raise KeyboardInterrupt")
    result = train_py(cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert result.returncode == 130
    assert result.stderr == "train.py: interrupted before there was anything to save\n"
