"""What is saved and read: up to a bound and not beyond, on the disk, and refused with a reason."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from tests.storage.forgery import META, build, forged, tensor
from training.storage import checkpoint, files
from training.storage.checkpoint import (
    MAX_BYTES,
    MAX_HEADER_BYTES,
    NAME,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from training.storage.files import read_bounded, write_atomically
from training.storage.tables import TABLES, Table, read_table
from training.storage.weights import WeightsError, read_weights, serialize

STATE = {"model.a": np.arange(6, dtype=np.float32).reshape(2, 3), "step": np.asarray(7)}


@pytest.mark.parametrize("bound", ["MAX_BYTES", "MAX_HEADER_BYTES"])
def test_a_checkpoint_as_large_as_may_be_is_saved_and_read(bound, tmp_path, monkeypatch):
    path = tmp_path / NAME
    save_checkpoint(path, STATE, {"number": 1})
    content = path.read_bytes()
    size = len(content) if bound == "MAX_BYTES" else int.from_bytes(content[:8], "little")
    monkeypatch.setattr(checkpoint, bound, size)
    save_checkpoint(path, STATE, {"number": 2})
    assert load_checkpoint(path).record == {"number": 2}
    monkeypatch.setattr(checkpoint, bound, size - 1)
    with pytest.raises(OSError, match=f"of {size:,} bytes could not be read") as caught:
        save_checkpoint(path, STATE, {"number": 3})
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    with pytest.raises(CheckpointError, match=r"more than|promise a header"):
        load_checkpoint(path)


def shaped(*shape: int, name: str = "a") -> bytes:
    return forged({}, {name: np.zeros(shape, np.float32)})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (shaped(*[1] * 8), None),
        (shaped(*[1] * 9), "a has more dimensions, or larger ones, than any tensor saved"),
        (shaped(0, MAX_BYTES), None),
        (shaped(0, MAX_BYTES + 1), "a has more dimensions, or larger ones"),
        (shaped(1, name="a" * 200), None),
        (shaped(1, name="a" * 201), "it has a tensor named 'aaa"),
        (shaped(*[1] * 9, name="a" * 200), f"({'a' * 200})"),  # cut there
        (build({**META, "a": tensor(dtype="F16", data_offsets=[0, 2])}, bytes(2)), "type F16"),
        (build(b" " * (MAX_HEADER_BYTES + 1)), "promise a header of 1,048,577 bytes"),
        (build([1]), "is damaged or not a checkpoint (invalid JSON in header"),
        (build({**META, "a": tensor(dtype="x\x1b")}, bytes(4)), "unknown variant `x`"),
        (save({"a": np.zeros(3)}), "is not a checkpoint: it has no record and checksum"),
        (save({}, {"record": "{}", "sha256": "0"}), "its content does not match its checksum"),
        (forged("[]"), "its record is not a JSON object"),
        (forged('{"a": NaN}'), "its record holds NaN"),
        (forged('{"a": 1e999}'), "its record holds 1e999"),
        (forged('{"a": 1e99}'), None),
    ],
    ids=range(17),
)
def test_a_refusal_gives_its_reason(data, reason, tmp_path):
    path = tmp_path / NAME
    path.write_bytes(data)
    if reason is None:
        load_checkpoint(path)
        return
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert str(caught.value).startswith(f"{path} is ")
    assert str(caught.value).isprintable()
    assert reason in str(caught.value)


def test_what_is_read_is_what_was_saved(tmp_path):
    """Whatever an array's order in memory."""
    whole = np.arange(24.0).reshape(2, 3, 4)
    saved = {"columns": np.asfortranarray(whole), "part": whole[:, ::2], "none": np.zeros((0, 3))}
    save_checkpoint(tmp_path / NAME, saved, {})
    state = load_checkpoint(tmp_path / NAME).state
    assert state.keys() == saved.keys()
    for name, array in saved.items():
        np.testing.assert_array_equal(state[name], array, strict=True)


def test_a_strangers_file_is_read_up_to_its_bound(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bounded(path, 5) == b"12345"
    for name, limit, reason in (
        (path, 4, "it has 5 bytes, more than the 4 that are read"),
        (tmp_path, 9, "it is not a regular file"),
        (tmp_path / "none", 9, r"it cannot be read \(No such file or directory\)"),
        (f"{path}\0", 9, r"it cannot be a path \(embedded null byte\)"),
    ):
        with pytest.raises(ValueError, match=f"^{reason}$"):
            read_bounded(name, limit)


def test_what_has_its_name_is_on_the_disk(tmp_path, monkeypatch):
    """A file's bytes are there before it has its name, and its folder before the call returns."""
    events: list[object] = []

    def fsync(handle: int, original=os.fsync) -> None:
        status = os.fstat(handle)
        events.append("folder" if stat.S_ISDIR(status.st_mode) else status.st_size)
        original(handle)

    def replace(source: Path, target: Path, original=os.replace) -> None:
        events.append(target.name)
        original(source, target)

    write_atomically(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    free = os.dup(0)
    os.close(free)
    write_atomically(tmp_path / "file", b"12345", keep=tmp_path / "kept")
    assert events == [5, "kept", "file", "folder"]
    assert [(tmp_path / name).read_bytes() for name in ("file", "kept")] == [b"12345", b"old"]
    again = os.dup(0)
    os.close(again)
    assert again == free  # and nothing is left open


def test_what_cannot_be_written_is_named(tmp_path):
    table = Table(tmp_path / "steps.csv", TABLES["steps"])
    (tmp_path / "steps.csv").unlink()
    (tmp_path / "steps.csv").mkdir()
    missing = tmp_path / "none" / "file"
    for write, path, number in (
        (lambda: write_atomically(missing, b""), missing, errno.ENOENT),
        (lambda: table.append((1, 2, 3)), tmp_path / "steps.csv", errno.EISDIR),
    ):
        with pytest.raises(OSError, match=os.strerror(number)) as caught:
            write()
        assert (caught.value.errno, caught.value.filename) == (number, str(path))


def test_a_tables_bytes_that_are_no_text_are_damage(tmp_path):
    path = tmp_path / "steps.csv"
    Table(path, TABLES["steps"], [(1, 0.5, 0.5)])
    with path.open("ab") as file:
        file.write(b"2,0.5,\xff\n")
    with pytest.raises(ValueError, match=r"steps\.csv is damaged at line 3: could not convert"):
        read_table(path, TABLES["steps"])


def test_temporary_names_are_leftovers_to_a_process_that_finds_them(tmp_path):
    for kind in ("tmp", "kept"):
        path = files._beside(tmp_path / NAME, kind)
        assert path.parent == tmp_path
        assert files.is_leftover(path.name)
        assert not files.is_leftover(path.name[1:])


@pytest.mark.parametrize("length", range(8))
def test_tensors_begin_at_a_multiple_of_eight_bytes(length):
    content = serialize(STATE, {"model": "x" * length})
    assert int.from_bytes(content[:8], "little") % 8 == 0
    for name, array in load(content).items():
        np.testing.assert_array_equal(array, STATE[name], strict=True)


def test_a_strangers_weights(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(save({"a": np.zeros(3)}))
    weights, metadata = read_weights(path)
    assert (list(weights), metadata) == (["a"], {})
    path.write_bytes(save({"a": np.zeros(3)}, {"model": "x"}))
    assert read_weights(path)[1] == {"model": "x"}
    path.write_bytes(build({"a": tensor(dtype="x\x1b" * 300)}, bytes(4)))
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    head, _, reason = str(caught.value).partition(" (")
    assert head == "it is damaged or not a safetensors file"
    assert len(reason) == 200 + len(")")
    assert reason.isprintable()
    assert "unknown variant `xx" in reason
