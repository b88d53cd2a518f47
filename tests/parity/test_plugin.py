"""A user's own test of two lines, run by a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEST = """
from factories import Doubled, numpy_models, right


def test_right(assert_parity):
    assert_parity(*right())


def test_wrong(assert_parity):
    module, _, inputs = right()
    assert_parity(module, numpy_models.Sequential(Doubled(4, 3)), inputs)
"""


def python(*words: str, folder: Path) -> subprocess.CompletedProcess:
    paths = f"{ROOT}:{Path(__file__).parent}"
    environment = {"PYTHONPATH": paths, "PATH": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *words]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=environment, check=False
    )


def test_the_fixture_in_a_users_own_test(tmp_path) -> None:
    (tmp_path / "test_mine.py").write_text(TEST, encoding="utf-8")
    installed = any(e.value == "parity.plugin" for e in entry_points(group="pytest11"))
    plugin = () if installed else ("-p", "parity.plugin")
    done = python("-m", "pytest", *plugin, "-p", "no:cacheprovider", "-q", folder=tmp_path)
    assert "1 failed, 1 passed" in done.stdout
    assert "culprit: 0 (Linear), wrong by itself" in done.stdout


def test_the_plugin_is_registered_and_light(tmp_path) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "parity.plugin" in settings["project"]["entry-points"]["pytest11"].values()
    code = "import sys, parity.plugin; print({'torch', 'numpy'} & set(sys.modules))"
    assert python("-c", code, folder=tmp_path).stdout == "set()\n"
