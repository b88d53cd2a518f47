"""Saved runs held against a configuration, without training: what goes on, changes, or is refused.

Five steps an epoch; the runs stand in their fourth, after its third step.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support import compose, few_digits
from tests.trainer.runs import SHORT
from training.backends.protocol import Totals
from training.config.schema import Config
from training.errors import ConfigError
from training.storage.checkpoint import NAME
from training.trainer import resume
from training.trainer.progress import Progress
from training.trainer.saved_run import SavedRun, describe

SCHEDULE = ("scheduler.step_size=2", "scheduler.gamma=0.5", "optimizer.lr=0.008")
OVERRIDE = "resume_override=true"


def config(*overrides: str) -> Config:
    return replace(compose(*SHORT, *SCHEDULE, "trainer.epochs=9", *overrides), resume="a run")


def saved(step: int = 3, lr: float = 0.004, last_epoch: int = 3, **sums: Any) -> SavedRun:
    seen = min(20 * step, 96)
    rows = [(number, 0.5, 0.5) for number in (15, 17, 18, 19)]
    progress = Progress(
        *(3, step, Totals(5.0, 3, seen), Totals(4.0, 2, max(seen - 20, 0)), 1.5),
        steps=list(rows),
        evaluations=[(*row, 0.25) for row in rows],
    )
    progress = replace(progress, **sums)
    state = {"optimizer.lr": np.asarray(lr), "scheduler.last_epoch": np.asarray(last_epoch)}
    record = {"config": resume.record_of(config()), "dataset": describe(few_digits())}
    return SavedRun(state, progress, record)


def load(run: SavedRun, *overrides: str) -> tuple[str, bool]:
    """Have a backend go on with the run; what it gets is the run's state."""
    given: list[dict[str, Any]] = []
    backend: Any = SimpleNamespace(load_state=given.append)
    told = run.load_into(config(*overrides), few_digits(), backend)
    assert given == [run.state]
    return told


def test_an_unchanged_run_goes_on_from_its_step():
    run = saved()
    assert load(run) == ("", False)
    assert run.progress == replace(
        saved().progress, steps=run.progress.steps[:3], evaluations=run.progress.evaluations[:3]
    )
    assert [row[0] for row in run.progress.steps] == [15, 17, 18]  # and later ones are taken again
    assert [row[0] for row in run.progress.evaluations] == [15, 17, 18]
    assert float(run.state["optimizer.lr"]) == 0.004


@pytest.mark.parametrize(
    ("change", "words", "lr"),
    [
        ("optimizer.weight_decay=0.1", "optimizer.weight_decay was 0.0 and is 0.1", 0.004),
        ("optimizer.lr=0.1", "optimizer.lr was 0.008 and is 0.1", 0.05),
        ("scheduler.gamma=0.1", "scheduler.gamma was 0.5 and is 0.1", 0.0008),
        ("scheduler.step_size=1", "scheduler.step_size was 2 and is 1", 0.001),
        ("scheduler.step_size=3", "scheduler.step_size was 2 and is 3", 0.004),
        ("scheduler.step_size=4", "scheduler.step_size was 2 and is 4", 0.008),
        ("scheduler.step_size=null", "scheduler.step_size was 2 and is None", 0.008),
    ],
)
def test_a_change_that_is_insisted_on_takes_effect_from_here_on(change, words, lr):
    with pytest.raises(ConfigError, match=f"^resume=a run: {words}; leave it as it was, or"):
        load(saved(), change)
    run = saved()
    assert load(run, change, OVERRIDE) == (words, False)
    assert run.progress.step == 3
    assert float(run.state["optimizer.lr"]) == pytest.approx(lr, rel=1e-12)


@pytest.mark.parametrize(
    "change",
    ["seed=5", "data.flip=0", "data.scaling=raw", "trainer.batch_size=10"],
)
def test_an_epoch_in_another_order_begins_anew(change):
    run = saved()
    words, anew = load(run, change, OVERRIDE)
    assert words.startswith(f"{change.partition('=')[0]} was ")
    assert anew
    assert run.progress == Progress(
        3, steps=run.progress.steps, evaluations=run.progress.evaluations
    )
    begun = 30 if "batch_size" in change else 15
    assert [row[0] for row in run.progress.steps] == [r for r in (15, 17, 18, 19) if r <= begun]
    assert load(saved(step=0), change, OVERRIDE) == (words, False)  # where it is at its beginning


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (saved(step=5), None),
        (saved(step=6), "it is at step 6 of 5"),
        (saved(last_epoch=2), "its schedule and its run are at different epochs"),
        (saved(lr=0.008), r"its learning rate is not the 0\.004 of its settings"),
        (saved(lr=0.004 * (1 + 1e-9)), None),
        (saved(lr=0.004 * (1 + 1e-6)), r"its learning rate is not the 0\.004"),
        (saved(lr=0.004 * (1 - 1e-6)), r"its learning rate is not the 0\.004"),
    ],
)
def test_a_run_that_cannot_be_its_settings(run, words):
    if words is None:
        load(run)
        return
    with pytest.raises(ConfigError, match=rf"^resume=a run: {words}"):
        run.load_into(config(), few_digits(), SimpleNamespace(load_state=lambda state: None))


@pytest.mark.parametrize(
    ("sums", "good"),
    [
        ({}, True),
        ({"totals": Totals(5.0, 3, 59)}, False),
        ({"totals": Totals(5.0, 3, 61)}, False),
        ({"recorded": Totals(4.0, 2, 60)}, True),
        ({"recorded": Totals(4.0, 2, 61)}, False),  # the next row would be of no images
        ({"recorded": Totals()}, True),
        ({"recorded": Totals(0.0, 0, -1)}, False),
        ({"seconds": 0.0}, False),
        ({"seconds": -1.0}, False),
        ({"step": 0, "totals": Totals(), "recorded": Totals(), "seconds": 0.0}, True),
        ({"step": 0, "totals": Totals(5.0, 3, 20)}, False),
    ],
    ids=str,
)
def test_sums_are_of_the_images_that_a_run_has_seen(sums, good):
    if good:
        load(saved(**sums))
        return
    with pytest.raises(ConfigError, match="its sums are not those of the images"):
        load(saved(**sums))


def test_a_state_that_a_backend_refuses():
    def refuse(state: object) -> None:
        raise ValueError("missing a")

    with pytest.raises(ConfigError, match=r"^resume=a run: missing a$"):
        saved().load_into(config(), few_digits(), SimpleNamespace(load_state=refuse))


def test_other_data_begin_the_epoch_anew():
    run, fewer = saved(), few_digits(train=90)
    backend: Any = SimpleNamespace(load_state=lambda state: None)
    words = "dataset.train_images was 96 and is 90"
    with pytest.raises(ConfigError, match=f"{words}; leave it as it was, or add {OVERRIDE}"):
        run.load_into(config(), fewer, backend)
    assert run.load_into(config(OVERRIDE), fewer, backend) == (words, True)


@pytest.mark.parametrize(
    ("summary", "epochs", "done"),
    [
        ('{"status": "finished", "epochs": 3}', 3, True),
        ('{"status": "interrupted", "epochs": 3}', 3, False),
        ('{"status": "finished", "epochs": 2}', 3, False),
        ('{"status": "finished", "epochs": 3}', 4, False),
        ('{"epochs": 3}', 3, False),
        ('{"status": "finished"}', 3, False),
        ('["finished"]', 3, False),
        ("{", 3, False),
        ("[" * 100_000, 3, False),
        (None, 3, False),
    ],
)
def test_a_run_is_finished_with_its_epochs_and_its_results(summary, epochs, done, tmp_path):
    if summary is not None:
        (tmp_path / "summary.json").write_text(summary)
    run: Any = SimpleNamespace(path=tmp_path / NAME, record={"progress": {"epoch": 3}})
    assert resume.is_finished(run, config(f"trainer.epochs={epochs}")) is done
    run.record["progress"]["epoch"] = 2
    assert not resume.is_finished(run, config(f"trainer.epochs={epochs}"))


def test_what_is_asked_for_is_held_against_the_record():
    record = {"config": resume.record_of(config()), "progress": {"epoch": 5}}
    for more in ("trainer.epochs=5", "trainer.epochs=null", "backend=numpy", "data.root=/there"):
        resume.check_unchanged(record, config(more))
    with pytest.raises(ConfigError, match=r"^trainer\.epochs=4: the run already has 5 epochs$"):
        resume.check_unchanged(record, config("trainer.epochs=4", OVERRIDE))
    with pytest.raises(ConfigError, match=r"seed was 0 and is 1, .*resume_override=true") as caught:
        resume.check_unchanged(record, config("seed=1", "data.flip=0.25"))
    assert "data.flip was 0.5 and is 0.25" in str(caught.value)
    resume.check_unchanged(record, config("seed=1", "data.flip=0.25", OVERRIDE))


def test_a_saved_setting_that_is_none_names_its_file():
    record = json.loads(json.dumps(resume.record_of(config())))
    settings = resume.saved_settings(Path("file"), record)
    assert settings["optimizer.lr"] == 0.008
    assert not {"resume", "resume_override", "data.root"} & settings.keys()
    for wrong, words in (({"mode": 1}, "no setting 'mode'"), ({"seed": "a\nb"}, "seed must be")):
        with pytest.raises(ConfigError, match=f"^file: .*{words}"):
            resume.saved_settings(Path("file"), record | wrong)


@pytest.mark.parametrize(
    "change",
    [
        *({"format": form} for form in (None, "3", 3.0)),
        *({"config": config} for config in (None, [], "config")),
        *({"dataset": data} for data in ({"name": "digits"}, {"name": "a", "train_images": 9.0})),
        {"dataset": {"name": "\x07", "train_images": 9}},
        *({"notes": notes} for notes in ([3], ["\x1b"], "notes", None)),
        *({"seconds": seconds} for seconds in (3, None, True)),
        {"more": 1},
    ],
    ids=str,
)
def test_a_record_of_another_kind_is_refused(change, stranger):
    folder, record = stranger
    with pytest.raises(ConfigError, match="its record is not that of a run"):
        resume.check_record(folder, record | change)


@pytest.mark.parametrize(
    "change",
    [
        *({"epoch": epoch} for epoch in (-1, 1.0, True)),
        *({"step": step} for step in (-1, 2.0, None)),
        *({"totals": totals} for totals in ([1.0, 1], [1.0, 1, 1, 1], [1, 1, 1], [1.0, 1.0, 1])),
        *({"recorded": totals} for totals in ({}, None, "abc", [1.0, True, 1])),
        {"more": 1},
    ],
    ids=str,
)
def test_a_progress_of_another_kind_is_refused(change, stranger):
    folder, record = stranger
    with pytest.raises(ConfigError, match="its record is not that of a run"):
        resume.check_record(folder, record | {"progress": record["progress"] | change})


@pytest.fixture(scope="module")
def stranger() -> tuple[Path, dict]:
    """A file's name and the record in it, which is sound."""
    record = {
        "format": resume.FORMAT,
        "config": {},
        "dataset": {"name": "digits", "train_images": 9},
        "maker": {"backend": "numpy", "device": "cpu", "threads": 1, "processes": 1},
        "progress": Progress(epoch=1, step=2).to_record(),
        "seconds": 1.5,
        "notes": ["as it was"],
    }
    record = json.loads(json.dumps(record))
    resume.check_record(Path("file"), record)
    for place, name in (("progress", "step"), ("maker", "threads"), ("dataset", "name")):
        part = {key: value for key, value in record[place].items() if key != name}
        with pytest.raises(ConfigError):
            resume.check_record(Path("file"), record | {place: part})
    return Path("file"), record
