"""What a run is given and hands on: labels, signals, settings of the data, sizes, what it says."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest

from tests.support import at_step, compose, few_digits
from tests.trainer.runs import SHORT, finish
from training.backends.protocol import Totals
from training.backends.ranks import Alone
from training.config.schema import Config
from training.errors import ConfigError, DivergenceError, OutputError, StoppedError
from training.storage.checkpoint import NAME, newest
from training.storage.tables import TABLES, Row, read_table
from training.trainer import dataset, record, trainer
from training.trainer.progress import Progress, Recorder
from training.trainer.signals import StopRequest
from training.trainer.trainer import run

ONE_EPOCH = ("backend=numpy", "model=linear_baseline", "trainer.epochs=1")


def short(*overrides: str) -> Config:
    return compose(*SHORT, *ONE_EPOCH, *overrides)


@pytest.mark.usefixtures("few_digits", "no_pictures")
@pytest.mark.parametrize("label", ["", "job 3: "])
def test_what_a_run_says(label, tmp_path, capsys):
    accuracy = run(short("seed=5"), tmp_path, label=label)
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith(label) for line in lines)
    heading, *table, epoch, result, folder = (line.removeprefix(label) for line in lines)
    assert heading == "linear_baseline on numpy (cpu, 1 thread), seed 5, 1 epoch (as asked)"
    assert [line.split()[0] for line in table] == ["layer", "flatten", "out", "total"]
    assert epoch.startswith("epoch 1/1")
    assert result == f"test accuracy {accuracy * 100:.2f} % (digits, 30 images)"
    assert folder == str(tmp_path)


@pytest.mark.usefixtures("few_digits", "no_pictures")
def test_a_run_without_epochs_has_its_datas(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(trainer.DEFAULT_EPOCHS, "digits", 2)
    run(short("trainer.epochs=null", "data.validation=20"), tmp_path)
    said = capsys.readouterr().out
    assert ", seed 0, 2 epochs (the default for digits)\n" in said
    assert re.search(r"\nvalidation accuracy \d+\.\d\d % \(digits, 20 images\)\n", said)
    assert json.loads((tmp_path / "summary.json").read_text())["epochs"] == 2


@pytest.mark.usefixtures("few_digits", "no_pictures")
def test_a_signal_that_another_process_got(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["train.py"])
    request = StopRequest()
    request._number.value = signal.SIGTERM
    with pytest.raises(StoppedError, match=r"^stopped by SIGTERM before the first step") as caught:
        run(short(), tmp_path, stop=request)
    assert caught.value.number == signal.SIGTERM
    assert str(caught.value).endswith(
        f", all saved; resume with: python train.py resume={tmp_path}"
    )
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["status"], summary["reason"]) == ("interrupted", str(caught.value))


@pytest.mark.usefixtures("few_digits", "no_pictures")
def test_what_a_resumed_run_says(tmp_path, capsys, monkeypatch):
    """What has changed, what was passed over, where it goes on, and what is done again."""
    request, path = StopRequest(), tmp_path / NAME
    with monkeypatch.context() as patch:
        at_step(patch, 7, lambda: request.receive(signal.SIGTERM))
        with pytest.raises(StoppedError, match="in epoch 2 after step 2"):
            run(short("trainer.epochs=3"), tmp_path, stop=request)

    def resumed(*settings: str) -> list[str]:
        config = short("trainer.epochs=3", "resume_override=true", *settings)
        capsys.readouterr()
        before = len(json.loads((tmp_path / "summary.json").read_text())["notes"])
        run(replace(config, resume=str(tmp_path)), tmp_path)
        notes = json.loads((tmp_path / "summary.json").read_text())["notes"][before:]
        said = capsys.readouterr().out
        assert all(f"{note}\n" in said for note in notes)
        return notes

    assert resumed("data.flip=0.25") == [
        "resumed with changes: data.flip was 0.5 and is 0.25; epoch 2 restarts",
        "resumed at the end of epoch 1",
    ]
    assert len(read_table(tmp_path / "metrics.csv", TABLES["metrics"])) == 3
    damaged = path.read_bytes()[:-1]
    path.write_bytes(damaged)
    passed_over, where = resumed("data.flip=0.25")
    assert passed_over.startswith(f"{path} is damaged")
    assert passed_over.endswith(": resuming from the previous checkpoint")
    assert where == "resumed at the end of epoch 2"
    assert path.with_name(f"{NAME}.damaged").read_bytes() == damaged
    assert newest(tmp_path)[1] is None
    assert resumed("data.flip=0.25", "optimizer.weight_decay=0.5") == [
        "resumed with changes: optimizer.weight_decay was 0.0 and is 0.5",
        "resumed after the last epoch",
    ]


@pytest.mark.usefixtures("few_digits", "no_pictures")
def test_what_ended_a_run_is_told_where_its_summary_cannot_be_written(tmp_path, monkeypatch):
    def full(path, content, original=record.write_atomically):
        if path.name == "summary.json":
            raise OSError(28, "No space left on device", str(path))
        original(path, content)

    monkeypatch.setattr(record, "write_atomically", full)
    request = StopRequest()
    request._number.value = signal.SIGTERM
    with pytest.raises(StoppedError, match=r"^stopped by SIGTERM before the first step"):
        run(short(), tmp_path, stop=request)
    with pytest.raises(OutputError, match=r"summary\.json: No space left on device; the last"):
        run(short(), tmp_path)


@pytest.mark.usefixtures("few_digits", "no_pictures")
def test_a_folders_letters_stay_legible(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "score", lambda *_: SimpleNamespace(loss=float("nan")))
    folder = tmp_path / "Läufe"
    folder.mkdir()
    with pytest.raises(DivergenceError):
        run(short("trainer.checkpoint_every=1 step"), folder)
    assert f"the last good checkpoint is {folder / NAME}" in (folder / "summary.json").read_text()


@pytest.mark.usefixtures("few_digits", "no_pictures")
@pytest.mark.parametrize("settings", [(), ("trainer.log_every=5", "trainer.evaluation_samples=9")])
def test_a_run_whose_checkpoints_just_fit(settings, tmp_path, monkeypatch):
    refused = partial(run, short(*settings), tmp_path)
    monkeypatch.setattr(record, "MAX_BYTES", 0)
    with pytest.raises(ConfigError, match="it would have") as caught:
        refused()
    assert [path.name for path in tmp_path.iterdir()] == []
    size = int(re.search(r"have ([\d,]+) bytes", str(caught.value))[1].replace(",", ""))
    monkeypatch.setattr(record, "MAX_BYTES", size - 1)
    with pytest.raises(ConfigError, match=f"more than the limit of {size - 1:,}"):
        refused()
    monkeypatch.setattr(record, "MAX_BYTES", size)
    refused()


@pytest.mark.usefixtures("few_digits", "no_pictures")
def test_what_is_drawn_is_the_run(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("training.trainer.pictures.draw", lambda *given: drawn.append(given))
    accuracy = run(short("seed=5"), tmp_path)
    ((folder, rows, scores, data, label),) = drawn
    assert (folder, len(rows), rows[-1].test_accuracy) == (tmp_path, 1, scores.accuracy)
    assert (scores.accuracy, len(data.test_labels)) == (accuracy, 30)
    assert label == "linear_baseline on numpy, digits, seed 5"


@pytest.mark.usefixtures("few_digits", "no_pictures")
def test_each_row_says_after_which_step_and_epoch_it_is(tmp_path, monkeypatch):
    """Of two epochs of five steps; of the test set the sample is the whole."""
    backends = []

    def opened(*given, original=trainer.open_backend):
        backends.append(original(*given))
        return backends[-1]

    monkeypatch.setattr(trainer, "open_backend", opened)
    settings = ("trainer.log_every=2", "trainer.evaluation_samples=30", "trainer.epochs=2")
    accuracy = run(short(*settings), tmp_path)
    rows = read_table(tmp_path / "metrics.csv", TABLES["metrics"])
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[-1]["test_accuracy"] == accuracy
    assert [row["step"] for row in read_table(tmp_path / "steps.csv", TABLES["steps"])] == [
        *(2, 4, 5, 6, 8, 10)
    ]
    first, *others = read_table(tmp_path / "evaluations.csv", TABLES["evaluations"])
    assert [(row["step"], row["epoch"]) for row in (first, *others)] == [(1, 0), (5, 1), (10, 2)]
    for row, other in zip(rows, others, strict=True):
        assert other["test_accuracy"] == pytest.approx(row["test_accuracy"], rel=1e-5)
    right = backends[0].evaluate(30).argmax(1) == few_digits().train_labels[:30]
    assert others[-1]["train_accuracy"] == pytest.approx(right.mean(), rel=1e-5)
    assert backends[0].evaluate().shape == (30, 10)


# Data


class Ordered(Alone):
    """A rank that notes when it waits for the others."""

    def __init__(self, rank: int, events: list) -> None:
        self.rank, self.events = rank, events

    def barrier(self) -> None:
        self.events.append("barrier")


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_the_first_rank_loads_the_data_before_the_others(rank, tmp_path, monkeypatch, capsys):
    events: list = []

    def load(name, root, download, size, announce):
        announce("data: loaded")
        events.append((name, root, download, size))
        return few_digits()

    monkeypatch.setattr(dataset, "load_dataset", load)
    settings = (f"data.root={tmp_path}", "data.download=false", "model.image_size=32")
    config, ranks = compose(*settings), Ordered(rank, events)
    dataset._load_once.cache_clear()
    for _ in range(2):  # and once a process
        assert dataset.load(config, ranks) is few_digits()
    dataset._load_once.cache_clear()
    given = ("digits", str(tmp_path), False, 32)
    assert events == ([given, "barrier", "barrier"] if rank == 0 else ["barrier", given, "barrier"])
    assert capsys.readouterr().out == "data: loaded\n" * (rank == 0)
    assert dataset.load(compose(), ranks) is few_digits()
    assert events[3 + (rank > 0)] == ("digits", None, True, 28)
    dataset._load_once.cache_clear()


@pytest.mark.usefixtures("few_digits")
@pytest.mark.parametrize("rank", [0, 1])
def test_data_that_are_just_enough(rank, capsys):
    ranks = Ordered(rank, [])
    held_out = dataset.load(compose("data.validation=95"), ranks)
    assert (len(held_out.train_labels), len(held_out.test_labels)) == (1, 95)
    assert held_out.note.endswith(
        "tested on 95 images held out of the training set, not on the test images"
    )
    assert capsys.readouterr().out == f"{held_out.note}\n" * (rank == 0)
    drawn = "data.sampling=replacement"
    whole = dataset.load(compose(drawn, "trainer.batch_size=96"), ranks)
    assert len(whole.train_labels) == 96
    with pytest.raises(ConfigError, match="batch_size=97 is more than the 96 training"):
        dataset.load(compose(drawn, "trainer.batch_size=97"), ranks)
    dataset.load(compose("trainer.batch_size=97"), ranks)


def test_notes_of_held_out_data_follow_the_datas_own():
    whole, own = few_digits(), "tested on 1,000 images held out of the training set, not on the "
    for note, words in (("", own), ("digits", f"digits; {own}")):
        parted = dataset.held_out(replace(whole, note=note), 20)
        assert parted.note.startswith(words.replace("1,000", "20"))


# Tables


def test_whole_numbers_are_written_as_such_however_large(tmp_path):
    config = compose("trainer.log_every=1", "trainer.evaluation_samples=1")
    progress = Progress(totals=Totals(2.0, 1, 4))
    recorder = Recorder(config, tmp_path, progress)
    recorder.after_steps(12345677)
    recorder.evaluation(12345678, 3, 1.0, 1 / 3)
    assert (tmp_path / "steps.csv").read_text() == "step,loss,accuracy\n12345677,0.5,0.25\n"
    last = (tmp_path / "evaluations.csv").read_text().splitlines()[-1]
    assert last == "12345678,3,1,0.333333"
    assert progress.recorded == progress.totals


@pytest.mark.parametrize(
    ("settings", "tables"),
    [
        ((), {"metrics"}),
        (("trainer.log_every=7",), {"metrics", "steps"}),
        (("trainer.evaluation_samples=7",), {"metrics", "evaluations"}),
    ],
)
def test_a_table_is_there_where_it_is_asked_for_or_has_rows(settings, tables, tmp_path):
    Recorder(compose(*settings), tmp_path, Progress())
    assert {path.stem for path in tmp_path.iterdir()} == tables
    row = Row(1, 1e-3, 1 / 3, 0.8, 0.4, 0.9, 1.5, 1000.0)
    filled = Progress(metrics=[row], steps=[(1, 1 / 3, 1.0)], evaluations=[(1, 0, 0.5, 1 / 3)])
    Recorder(compose(), tmp_path, filled)
    last = {path.stem: path.read_text().splitlines()[1:] for path in tmp_path.iterdir()}
    assert last == {
        "metrics": ["1,0.001,0.3333333333333333,0.8,0.4,0.9,1.5,1000.0"],
        "steps": ["1,0.333333,1"],
        "evaluations": ["1,0,0.5,0.333333"],
    }


def test_rows_begin_after_a_step():
    good = Progress(epoch=1, steps=[(1, 0.5, 0.5)])
    tables, fields = good.tables(), good.to_record() | {"epoch": 0}
    assert Progress.from_record(fields, tables).steps == [(1, 0.5, 0.5)]
    for step in (0, -1):
        table = tables["progress.steps"].copy()
        table[0, 0] = step
        with pytest.raises(ValueError, match="how far its run had got"):
            Progress.from_record(fields, tables | {"progress.steps": table})
    for name in tables:
        rest = {key: table for key, table in tables.items() if key != name}
        with pytest.raises(ValueError, match="how far its run had got"):
            Progress.from_record(fields, rest)


@pytest.mark.parametrize("column", [-1, -2])
def test_accuracies_are_shares(column):
    """Of metrics, steps and evaluations; a picture of others ends in an error of matplotlib."""
    good = Progress(
        metrics=[Row(1, 1e-3, 2.5, 0.0, 2.5, 1.0, 1.5, 1e3)],
        steps=[(1, 2.5, 0.0), (2, 2.5, 1.0)],
        evaluations=[(1, 0, 0.0, 1.0)],
    )
    tables, fields = good.tables(), good.to_record() | {"epoch": 1}
    Progress.from_record(fields, tables)
    for name, place in (("metrics", 3), ("metrics", 5), ("steps", 2), ("evaluations", column)):
        for wrong in (-1e-9, 1 + 1e-9, 1e308):
            table = tables[f"progress.{name}"].copy()
            table[-1, place] = wrong
            with pytest.raises(ValueError, match="accuracies that are none"):
                Progress.from_record(fields, tables | {f"progress.{name}": table})


@pytest.mark.usefixtures("few_digits", "no_pictures")
def test_a_finished_run_ends_as_its_signal_says(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "training.trainer.pictures.draw", lambda *_: signal.raise_signal(signal.SIGTERM)
    )
    with pytest.raises(StoppedError, match=r"^SIGTERM arrived after") as caught:
        finish(tmp_path / "run", *ONE_EPOCH)
    assert (caught.value.number, caught.value.exit_status) == (signal.SIGTERM, 143)
