"""Who may import whom, and the files that docs/architecture.md names."""

from __future__ import annotations

import re

import pytest

from tests import house

#: Package, or file: the project's packages that it may import, and the libraries that matter here.
#: A longer name wins over a shorter one.
RULES: dict[str, tuple[set[str], set[str]]] = {
    "numpy_models": ({"numpy_models/registry.py"}, {"numpy"}),
    "numpy_models/registry.py": ({"numpy_models", "pretrained"}, set()),
    "torch_models": ({"torch_models/registry.py"}, {"torch"}),
    "torch_models/registry.py": ({"torch_models", "pretrained"}, {"torch"}),
    "pretrained": ({"training/data"}, {"numpy", "safetensors"}),
    "training": (set(), {"threadpoolctl"}),
    "training/data": ({"training", "training/storage"}, {"numpy", "sklearn", "PIL"}),
    "training/storage": ({"training"}, {"numpy", "safetensors"}),
    "training/config": ({"training"}, {"hydra", "omegaconf"}),
    "training/backends": (
        {"training", "training/config", "training/data", "numpy_models", "training/backends/torch"},
        {"numpy", "threadpoolctl"},
    ),
    "training/backends/torch": (
        {"training", "training/config", "training/data", "training/backends", "torch_models"},
        {"numpy", "torch"},
    ),
    "training/trainer": (
        {"training", "training/config", "training/data", "training/storage", "training/backends"},
        {"numpy", "omegaconf", "matplotlib", "tqdm", "safetensors"},
    ),
    "studies": (
        {"training", "training/config", "training/storage", "training/trainer"},
        {"numpy", "matplotlib", "omegaconf"},
    ),
    "training/cli": (
        {"training", "training/config", "training/storage", "training/backends"}
        | {"training/trainer", "studies"},
        {"hydra", "omegaconf"},
    ),
    "train.py": ({"training/cli"}, set()),
    "setup.py": (set(), set()),
    "inference": (
        {"pretrained", "training", "training/config", "training/data", "training/storage"}
        | {"training/backends", "training/trainer", "numpy_models", "torch_models", "parity"},
        {"numpy", "torch", "matplotlib", "PIL", "safetensors"},
    ),
    "parity": (
        {"torch_models", "numpy_models", "training"},
        {"torch", "numpy", "matplotlib", "sklearn", "threadpoolctl"},
    ),
}
#: What stands above everything may import everything.
ABOVE = ("benchmarks", "docs")
HEAVY = {"torch", "torchvision", "numpy", "matplotlib", "sklearn", "hydra", "omegaconf"}
HEAVY |= {"safetensors", "tqdm", "threadpoolctl", "scipy", "jax", "PIL"}


def package_of(path: str) -> str:
    """The rule's name that is closest to a file."""
    names = [name for name in RULES if path == name or path.startswith(f"{name}/")]
    return max(names, key=len, default=path)


@pytest.mark.parametrize("module", house.modules().values(), ids=lambda module: module.path)
def test_imports_go_down(module: house.Module) -> None:
    if module.path.startswith(ABOVE):
        return
    package = package_of(module.path)
    assert package in RULES, f"{module.path} belongs to no package of the table"
    allowed, libraries = RULES[package]
    used = {package_of(house.modules()[name].path) for name in module.imports} - {package}
    assert used <= allowed, f"{module.path} imports {sorted(used - allowed)}"
    heavy = module.libraries & HEAVY
    assert heavy <= libraries, f"{module.path} imports {sorted(heavy - libraries)}"


def test_nothing_imports_in_a_circle() -> None:
    assert house.circles() == []


def test_the_architecture_page_walks_the_ways_that_are_there() -> None:
    page = (house.ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for path in re.findall(r"`([\w/]+\.py)`", page):
        assert (house.ROOT / path).is_file(), path
    for title, way in {
        "## A training step": house.way_of_a_step(),
        "## A parity verdict": house.way_of_a_verdict(),
    }.items():
        section = page.partition(title)[2].partition("\n## ")[0]
        walked = re.findall(r"^\d+\. `([\w/]+\.py)`", section, re.M)
        assert tuple(walked) == way
