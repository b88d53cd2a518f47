"""The README's example network works, no link is dead, and the tests that a page names exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

import numpy_models
import torch_models
from parity import assert_parity

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", other.read_text(encoding="utf-8"), re.M)
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in anchors, target


def test_the_tests_that_reliability_names_exist() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    names = re.findall(r"`(?:(?:tests/)?([\w/]*test_\w+\.py))?(?:::)?(test_\w+)?`", page)
    source = ""
    for file, test in names:
        if file:
            (path,) = (ROOT / "tests").rglob(file)
            source = path.read_text(encoding="utf-8")
        assert not test or re.search(rf"def {test}\b", source), f"{file}::{test}"


def example_files() -> dict[str, str]:
    """The README's code blocks whose first line names the file they go into."""
    blocks = re.findall(
        r"```(?:python|yaml)\n# (\S+/tiny\.\w+)\n(.*?)```", README.read_text(), re.S
    )
    return dict(blocks)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    files = example_files()
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for package in (torch_models, numpy_models):
        places = [*package.__path__, str(tmp_path / package.__name__)]
        monkeypatch.setattr(package, "__path__", places)
    importlib.invalidate_caches()
    return files


def test_the_example_is_one_file_a_side_and_one_of_configuration() -> None:
    names = {"torch_models/tiny.py", "numpy_models/tiny.py", "conf/model/tiny.yaml"}
    assert set(example_files()) == names


def test_the_examples_two_sides_agree(tiny: dict[str, str]) -> None:
    settings = yaml.safe_load(tiny["conf/model/tiny.yaml"])
    sides = [
        p.build(settings["name"], **settings["arguments"]) for p in (torch_models, numpy_models)
    ]
    size = settings["image_size"]
    images = np.random.default_rng(0).standard_normal((3, 1, size, size)).astype(np.float32)
    assert_parity(*sides, images)
    assert sides[1](images).shape == (3, 10)
