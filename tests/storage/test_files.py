"""Files that are whole or not there, and are written to no other place than their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from training.storage import files
from training.storage.files import remove_leftovers, write_atomically


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_planted_link_is_not_written_through(tmp_path, monkeypatch):
    """Even a name that could be foreseen is not followed."""
    victim, path = tmp_path / "victim", tmp_path / "file"
    victim.write_bytes(b"mine")
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "0")
    (tmp_path / ".file.0.tmp").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_atomically(path, b"new")
    assert victim.read_bytes() == b"mine"
    assert not path.exists()


def test_temporary_names_differ_and_leftovers_go(tmp_path, monkeypatch):
    used: list[Path] = []
    monkeypatch.setattr(os, "replace", lambda source, _: used.append(Path(source)))
    for _ in range(2):
        write_atomically(tmp_path / "metrics.csv", b"")
    assert len(set(used)) == 2
    for path in used:
        path.touch()
    for name in (".metrics.csv.1234.tmp", ".checkpoint.safetensors.12ef.kept", ".hidden", "a.tmp"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".hidden", "a.tmp"}
