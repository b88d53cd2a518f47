"""Checkpoints: what is saved comes back, and whatever else a file holds is refused."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import safetensors.numpy

from tests.storage.forgery import META, build, forged, tensor
from training.storage import checkpoint
from training.storage.checkpoint import (
    MAX_BYTES,
    MAX_HEADER_BYTES,
    NAME,
    PREVIOUS,
    CheckpointError,
    load_checkpoint,
    newest,
    save_checkpoint,
)

STATE = {"model.a": np.arange(6, dtype=np.float32).reshape(2, 3), "step": np.asarray(7)}
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
            load_checkpoint(path)


def test_a_file_over_the_limit_is_not_read_and_headers_take_a_stated_bound(tmp_path):
    huge, dense = tmp_path / "huge", tmp_path / "dense"
    with huge.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    entries = b"[" + b"{}," * ((MAX_HEADER_BYTES - 30) // 3) + b"{}]"
    dense.write_bytes(build(b'{"a": ' + entries + b"}"))
    for path, bound in ((huge, 2**20), (dense, 64 * MAX_HEADER_BYTES)):
        tracemalloc.start()
        with pytest.raises(CheckpointError):
            load_checkpoint(path)
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


def test_checkpoint_round_trip_and_previous(tmp_path):
    path = tmp_path / "checkpoint"
    state = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.asarray(7)}
    save_checkpoint(path, state, {"epoch": 1})
    save_checkpoint(path, state, {"epoch": 2})
    loaded, previous = load_checkpoint(path), load_checkpoint(tmp_path / "checkpoint.previous")
    assert (previous.record["epoch"], loaded.record["epoch"]) == (1, 2)
    assert loaded.state["b"].shape == ()
    np.testing.assert_array_equal(loaded.state["a"], state["a"])
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint", "checkpoint.previous"}


def test_every_damage_is_found(tmp_path):
    path = tmp_path / "checkpoint"
    save_checkpoint(path, {"a": np.arange(4, dtype=np.float32)}, {"epoch": 1})
    whole = path.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="checkpoint"):
            load_checkpoint(path)
    for length in (0, 7, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="checkpoint"):
            load_checkpoint(path)


def test_what_could_not_be_read_is_not_saved(tmp_path, monkeypatch):
    """One bound for both, and nothing that is refused later: the older file stays."""
    path = tmp_path / NAME
    save_checkpoint(path, STATE, {"number": 1})
    whole = path.read_bytes()
    with pytest.raises(ValueError, match="Out of range float"):
        save_checkpoint(path, STATE, {"seconds": np.nan})
    with pytest.raises(OSError, match=r"a header of .* could not be read"):
        save_checkpoint(path, STATE, {"notes": ["x" * MAX_HEADER_BYTES]})
    monkeypatch.setattr(checkpoint, "MAX_BYTES", len(whole) - 1)
    with pytest.raises(OSError, match=r"a file of .* could not be read"):
        save_checkpoint(path, STATE, {"number": 2})
    with pytest.raises(CheckpointError, match="more than"):
        load_checkpoint(path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {NAME: whole}


def test_numbers_that_are_not_finite_make_a_checkpoint_bad(tmp_path):
    save_checkpoint(tmp_path / NAME, STATE, {"number": 1})
    save_checkpoint(tmp_path / NAME, STATE, {"number": 2})
    bad = STATE | {"model.a": np.array([1, np.nan], np.float32)}
    (tmp_path / NAME).write_bytes(forged({"number": 3}, bad))
    found, passed_over = newest(tmp_path)
    assert found.record == {"number": 1}
    assert "model.a holds a number that is not finite" in str(passed_over)
    (tmp_path / (NAME + PREVIOUS)).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"not finite.*; .*is damaged"):
        newest(tmp_path)


def test_a_record_is_read_without_numpy(tmp_path):
    save_checkpoint(tmp_path / NAME, STATE, {"number": 1})
    script = (
        "import sys; from pathlib import Path;"
        "from training.storage.checkpoint import newest;"
        "assert newest(Path(sys.argv[1]))[0].record == {'number': 1};"
        "assert not {'numpy', 'torch'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=60)


def test_a_file_that_grows_while_it_is_read_takes_no_memory(tmp_path, monkeypatch):
    path = tmp_path / NAME
    path.write_bytes(b"small")
    before = os.stat(path)
    with path.open("ab") as file:
        file.truncate(2**26)
    monkeypatch.setattr(os, "stat", lambda *_, **__: before)
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="changed while it was read"):
        load_checkpoint(path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
