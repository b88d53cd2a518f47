"""Folders of runs: one for each, whoever asks at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from training.errors import ConfigError
from training.storage.run_folder import claim


def test_no_folder_is_given_twice(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: claim(tmp_path / "day" / "run"), range(24)))
    assert len(set(folders)) == 24
    assert {f.name for f in folders} == {"run", *(f"run_{n}" for n in range(2, 25))}


def test_claiming_an_empty_folder_and_a_file(tmp_path):
    (tmp_path / "mine").mkdir()
    assert claim(tmp_path / "mine") == tmp_path / "mine"
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        claim(tmp_path / "file")
