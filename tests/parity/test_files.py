"""What parity writes is whole or not there, and a place is tried before a long computation."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from parity import files
from parity.__main__ import main
from parity.faults import command
from parity.protocol import ParityError


def half(path: Path, content: str | bytes, **_: object) -> None:
    """Write as a disk does that becomes full."""
    with open(path, "wb") as file:
        file.write(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def full_disk(monkeypatch) -> None:
    for name in ("write_text", "write_bytes"):
        monkeypatch.setattr(Path, name, half)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_the_old_file(tmp_path) -> None:
    path = tmp_path / "figures.json"
    path.touch()
    with pytest.raises(ParityError, match=r"cannot write .*figures\.json: No space left on device"):
        files.write(path, b"new")
    assert [(each, each.stat().st_size) for each in tmp_path.iterdir()] == [(path, 0)]


@pytest.mark.usefixtures("full_disk")
def test_the_kill_matrix_is_whole_or_the_old_one(tmp_path, capsys) -> None:
    path = tmp_path / "matrix.json"
    path.touch()
    assert main(["faults", "--only", "bias added twice", "--json", str(path)]) == 2
    assert f"cannot write {path}: No space left on device" in capsys.readouterr().err
    assert path.read_bytes() == b""


@pytest.mark.parametrize("place", ["nowhere/matrix.json", "folder", "file/matrix.json"])
def test_no_fault_is_planted_for_a_file_that_cannot_be(place, tmp_path, monkeypatch, capsys):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setattr(command, "kill", lambda _: pytest.fail("planted first"))
    assert main(["faults", "--json", str(tmp_path / place)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"parity: cannot write {tmp_path / place}: ")
    assert error.count("\n") == 1
