"""Folders of runs: one for each, whoever asks at the same time."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from training.errors import ConfigError
from training.storage.run_folder import MARK, claim


def test_no_folder_is_given_twice(tmp_path):
    with ThreadPoolExecutor(8) as pool, ExitStack() as held:
        claims = [claim(tmp_path / "day" / "run", numbered=True) for _ in range(24)]
        folders = list(pool.map(held.enter_context, claims))
    assert {f.name for f in folders} == {"run", *(f"run_{n}" for n in range(2, 25))}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], None),
        ([MARK, "config.yaml", "metrics.csv", ".config.yaml.0123abcd.tmp", "failure.txt"], None),
        (["config.yaml"], "is not empty: choose another folder with hydra.run.dir=..."),
        ([".hydra/hydra.yaml", "metrics.csv"], "is not empty"),
        ([MARK, "metrics.csv", "thesis.tex"], "is not empty"),
        ([MARK, "weights.safetensors"], "is not empty"),
        ([MARK, "checkpoint.safetensors"], "already holds a run"),
        ([MARK, "checkpoint.safetensors.previous"], "is not empty"),
        ([MARK, "jobs.json"], "already holds a run"),
    ],
)
def test_only_what_a_dead_run_left_may_be_there(files, words, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("as it was")
    if words is None:
        with claim(folder) as claimed:
            assert claimed == folder
            with pytest.raises(ConfigError, match="another process is training"), claim(folder):
                pass
        return
    with pytest.raises(ConfigError, match=re.escape(words)), claim(folder):
        pass
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == {
        *map(str, files)
    }
    assert all((folder / name).read_text() == "as it was" for name in files)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"), claim(tmp_path / "file"):
        pass
