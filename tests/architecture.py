"""Draws docs/pictures/architecture.png from the imports: `python -m tests.architecture`.

Packages stand on floors; an arrow means that a file of the upper one imports a file of the lower.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from tests.house import ROOT, modules

#: Every package's place: column and floor.
PLACES = {
    "train.py": (1.0, 6),
    "training/cli": (1.0, 5),
    "studies": (-0.3, 4.2),
    "training/trainer": (1.0, 4),
    "training/backends": (1.0, 3),
    "training/config": (0.0, 2),
    "training/storage": (-0.6, 0.25),
    "training/data": (0.5, 0.7),
    "pretrained": (1.9, 1.2),
    "numpy_models": (1.4, 1.8),
    "torch_models": (2.4, 1.8),
    "parity": (2.6, 4.0),
    "inference": (2.2, 5.2),
}
PICTURE = Path("docs/pictures/architecture.png")


def package_of(path: str) -> str | None:
    """Return which of the places a file belongs to, None for one that stands at no place."""
    for package in sorted(PLACES, key=len, reverse=True):
        if path == package or path.startswith(f"{package}/"):
            return package
    return None


def arrows() -> set[tuple[str, str]]:
    """Return which package imports which."""
    by_name = modules()
    found = {
        (package_of(module.path), package_of(by_name[name].path))
        for module in by_name.values()
        for name in module.imports
    }
    return {(a, b) for a, b in found if a and b and a != b}


def draw(path: Path) -> None:
    """Write the picture."""
    lines = {package: 0 for package in PLACES}
    for module in modules().values():
        if package := package_of(module.path):
            lines[package] += module.lines
    figure, axes = plt.subplots(figsize=(9, 7), dpi=110)
    for source, target in sorted(arrows()):
        (x0, y0), (x1, y1) = PLACES[source], PLACES[target]
        axes.add_patch(
            FancyArrowPatch(
                (x0, y0 - 0.24),
                (x1, y1 + 0.24),
                arrowstyle="-|>",
                mutation_scale=11,
                color="#8a8f98",
                linewidth=0.9,
                connectionstyle="arc3,rad=0.06",
            )
        )
    for package, (x, y) in PLACES.items():
        axes.add_patch(
            FancyBboxPatch(
                (x - 0.36, y - 0.2),
                0.72,
                0.4,
                boxstyle="round,pad=0.02",
                facecolor="#f4f1e8",
                edgecolor="#44403a",
            )
        )
        axes.text(x, y + 0.05, package, ha="center", va="center", fontsize=9.5, weight="bold")
        axes.text(x, y - 0.11, f"{lines[package]:,} lines", ha="center", va="center", fontsize=8)
    axes.set_xlim(-1.2, 3.2)
    axes.set_ylim(0, 6.5)
    axes.axis("off")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


if __name__ == "__main__":
    draw(ROOT / PICTURE)
    print(PICTURE)
