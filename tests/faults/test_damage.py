"""Damaged, foreign and hostile checkpoints: one sentence, nothing run, nothing written."""

from __future__ import annotations

import json
import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from tests.training.support import assert_same_run
from training.storage.checkpoint import load_checkpoint, save_checkpoint
from training.storage.checkpoint_file import (
    MAX_BYTES,
    MAX_HEADER_BYTES,
    NAME,
    CheckpointError,
    RawTensor,
    checksum,
    newest,
    read,
)

STATE = {"model.a": np.arange(6, dtype=np.float32).reshape(2, 3), "step": np.asarray(7)}
RUN = ("data=digits", "backend=numpy", "backend.threads=1", "trainer.epochs=3")


def build(header: object, content: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content


def forged(record: object, tensors: dict[str, np.ndarray] | None = None) -> bytes:
    """A file whose checksum is right, as an attacker would make it."""
    tensors = tensors or {}
    raw = {n: RawTensor(a.dtype.str, a.shape, a.tobytes()) for n, a in tensors.items()}
    text = record if isinstance(record, str) else json.dumps(record)
    return safetensors.numpy.save(tensors, {"record": text, "sha256": checksum(raw, text)})


def tensor(**changes: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} | changes


META = {"__metadata__": {"record": "{}", "sha256": "0"}}
FOREIGN = {
    "empty": b"",
    "short": b"\x01\x02",
    "html": b"<!doctype html><html></html>",
    "pickle": pickle.dumps({"weights": [1, 2, 3]}),
    "zip": b"PK\x03\x04" + bytes(100),
    "a huge header": (2**63).to_bytes(8, "little") + b"{}",
    "a header over the limit": build(b" " * (MAX_HEADER_BYTES + 1)),
    "no json": build(b"{"),
    "no object": build([1]),
    "not text": build(b"\xff\xfe"),
    "deep": build(b"[" * 100_000),
    "a long number": build(b'{"a": ' + b"9" * 10_000 + b"}"),
    "no metadata": build({"a": tensor()}, bytes(4)),
    "other safetensors": safetensors.numpy.save({"a": np.zeros(3)}),
    "a name twice": build(b'{"a": 1, "a": 2}'),
    "a path for a name": build({**META, "../../etc/x": tensor()}, bytes(4)),
    "a type unknown": build({**META, "a": tensor(dtype="O")}, bytes(4)),
    "an unhashable type": build({**META, "a": tensor(dtype=[])}, bytes(4)),
    "a negative size": build({**META, "a": tensor(shape=[-1])}, bytes(4)),
    "a size that is no number": build({**META, "a": tensor(shape=[True])}, bytes(4)),
    "terabytes": build({**META, "a": tensor(shape=[2**40])}, bytes(4)),
    "an overflowing shape": build({**META, "a": tensor(shape=[2**20] * 8)}, bytes(4)),
    "many dimensions": build({**META, "a": tensor(shape=[1] * 9)}, bytes(4)),
    "an overlap": build({**META, "a": tensor(), "b": tensor()}, bytes(4)),
    "a gap": build({**META, "a": tensor(data_offsets=[4, 8])}, bytes(8)),
    "too long": build({**META, "a": tensor()}, bytes(8)),
    "too little": build({**META, "a": tensor()}, bytes(3)),
    "a wrong sum": build({**META, "a": tensor()}, bytes(4)),
    "a record that is a list": forged("[]"),
    "a record with nan": forged('{"a": NaN}'),
}


@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN)
def test_foreign_files_are_refused(data, tmp_path):
    path = tmp_path / NAME
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < len(str(path)) + 300


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (
        (tmp_path, "not a regular file"),
        (tmp_path / "pipe", "not a regular file"),
        (tmp_path / "absent", "No such file"),
    ):
        with pytest.raises(CheckpointError, match=reason):
            read(path)


def test_a_file_over_the_limit_is_not_read_and_headers_take_a_stated_bound(tmp_path):
    huge, dense = tmp_path / "huge", tmp_path / "dense"
    with huge.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    entries = b"[" + b"{}," * ((MAX_HEADER_BYTES - 30) // 3) + b"{}]"
    dense.write_bytes(build(b'{"a": ' + entries + b"}"))
    for path, bound in ((huge, 2**20), (dense, 64 * MAX_HEADER_BYTES)):
        tracemalloc.start()
        with pytest.raises(CheckpointError):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < bound
        tracemalloc.stop()


def test_safetensors_own_reader_finds_the_same(tmp_path):
    save_checkpoint(tmp_path / NAME, STATE, {"epoch": 1})
    theirs = safetensors.numpy.load_file(tmp_path / NAME)
    ours = load_checkpoint(tmp_path / NAME).state
    assert theirs.keys() == ours.keys()
    for name, array in ours.items():
        assert array.dtype == theirs[name].dtype
        np.testing.assert_array_equal(array, theirs[name])


def test_a_damaged_file_falls_back_and_is_never_kept_as_the_previous_one(
    call_main, few_digits, tmp_path, capsys
):
    assert call_main(*RUN, "hydra.run.dir=whole") == 0
    assert call_main(*RUN, "trainer.epochs=2", "hydra.run.dir=run") == 0
    folder = tmp_path / "run"
    path = folder / NAME
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    capsys.readouterr()
    assert call_main("resume=run", "trainer.epochs=3") == 0
    output = capsys.readouterr().out
    assert f"{path} is damaged" in output
    assert "going on from the checkpoint before it" in output
    assert "resumed at the end of epoch 1" in output
    assert_same_run(folder, tmp_path / "whole")
    assert (folder / f"{NAME}.damaged").read_bytes() == whole[: len(whole) // 2]
    assert newest(folder)[1] is None
    assert read(folder / f"{NAME}.previous").record["progress"]["epoch"] == 2
    for each in (path, folder / f"{NAME}.previous"):
        each.write_bytes(b"")
    assert call_main("resume=run") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{path} is damaged" in error
    assert f"{path}.previous is damaged" in error


@pytest.fixture
def run(call_main, few_digits, tmp_path, capsys):
    assert call_main(*RUN, "hydra.run.dir=run", "trainer.epochs=1") == 0
    capsys.readouterr()
    # Without its results there is something left to do, for which the checkpoint is loaded.
    (tmp_path / "run" / "summary.json").unlink()
    return tmp_path / "run"


def test_hostile_records_are_refused(run, call_main, tmp_path, capsys):
    state, record = load_checkpoint(run / NAME)

    def config(**changes: object) -> dict:
        return record | {"config": record["config"] | changes}

    hostile = {
        "no format": record | {"format": 9},
        "no config": record | {"config": 3},
        "a hydra setting": config(hydra={"run": {"dir": "/tmp/elsewhere"}}),
        "an environment variable": config(model={"name": "${oc.env:HOME}"}),
        "a path for a network": config(model={"name": "../../evil"}),
        "control characters": config(init={"name": "\x1b[2J"}),
        "a strange key": config(**{"a=b": 1}),
        "thousands of settings": config(model={"arguments": {f"a{n}": 1 for n in range(5000)}}),
        "a huge network": config(
            model={"name": "deepcnn21", "image_size": 28, "arguments": {"hidden": 10**12}}
        ),
        "a deep config": config(model=deep(60)),
        "a progress elsewhere": record | {"progress": {"epoch": -1}},
        "a step beyond": record | {"progress": record["progress"] | {"step": 10**9}},
        "totals of text": record | {"progress": record["progress"] | {"totals": ["a", 1, 2]}},
        "notes for the terminal": record | {"notes": ["\x1b]0;x\x07"]},
        "no maker": {key: value for key, value in record.items() if key != "maker"},
    }
    (run / f"{NAME}.previous").unlink(missing_ok=True)
    for name, forgery in hostile.items():
        (run / NAME).write_bytes(forged(forgery, {n: np.array(a) for n, a in state.items()}))
        before = sorted(path.name for path in tmp_path.rglob("*"))
        assert call_main("resume=run") == 2, name
        error = capsys.readouterr().err
        assert error.startswith("train.py: "), name
        assert error.count("\n") == 1, (name, error)
        assert "\x1b" not in error, name
        assert sorted(path.name for path in tmp_path.rglob("*")) == before, name


def test_a_checkpoint_of_another_version_is_told_from_a_damaged_one(run, call_main, capsys):
    state, record = load_checkpoint(run / NAME)
    arrays = {n: np.array(a) for n, a in state.items()}
    (run / NAME).write_bytes(forged(record | {"format": 1}, arrays))
    assert call_main("resume=run") == 2
    assert (
        "saves runs in another form (1, here 2): go on with that version" in capsys.readouterr().err
    )


def deep(levels: int) -> dict:
    return {"arguments": deep(levels - 1)} if levels else {}


def test_hostile_states_are_refused(run, call_main, capsys):
    state, record = load_checkpoint(run / NAME)
    state = {name: np.array(array) for name, array in state.items()}
    for name, array in {
        "optimizer.step": np.array([1, 2]),
        "optimizer.lr": np.asarray(np.nan),
        "scheduler.last_epoch": np.asarray(-1),
        "model.c1.bias": np.zeros(5, np.float32),
        "progress.rows": np.zeros((3, 8)),
    }.items():
        (run / NAME).write_bytes(forged(record, state | {name: array}))
        assert call_main("resume=run") == 2, name
        assert capsys.readouterr().err.count("\n") == 1


def test_no_path_is_taken_from_a_checkpoint(run, call_main, tmp_path, monkeypatch):
    import training.trainer.dataset
    from tests.training import support

    state, record = load_checkpoint(run / NAME)
    assert "root" not in record["config"]["data"]
    record["config"]["data"]["root"] = str(tmp_path / "hostile")
    (run / NAME).write_bytes(forged(record, {n: np.array(a) for n, a in state.items()}))
    roots: list[str | None] = []

    def load(name: str, root: str | None, *_: object):
        roots.append(root)
        return support.few_digits()

    monkeypatch.setattr(training.trainer.dataset, "_load_once", load)
    assert call_main("resume=run") == 0
    assert set(roots) == {None}
    assert not Path(tmp_path / "hostile").exists()
