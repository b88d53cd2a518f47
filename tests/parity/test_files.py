"""What parity writes is whole or not there."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from parity import files
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
