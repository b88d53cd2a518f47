"""Records as they are kept under docs/results, without a run."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from studies.__main__ import main
from studies.records import recipe

SUMMARY = {
    "status": "finished",
    "reason": "",
    "device": "cpu",
    "threads": 1,
    "dataset": "mnist",
    "seconds": 90.0,
    "date": "2026-01-02T03:04:05+00:00",
    "processor": "a processor",
    "versions": {"python": "3.11.0", "numpy": "2.3.4"},
}


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *path, last = key.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return tree


def keep(
    runs: Path, accuracies: list[float], seed: int = 0, status: str = "finished", **options: Any
) -> None:
    """Write a record of R3's recipe as `--collect` keeps it."""
    changes, study = options.get("changes", {}), options.get("study", "seeds")
    folder = runs / f"{study}-{status}-{seed}-{len(changes)}"
    folder.mkdir(parents=True)
    settings = {f"study.{name}": value for name, value in options.get("shown", {}).items()}
    config = {**recipe("r3_lenet5_avgpool"), **changes, **settings, "seed": seed}
    record = {"experiment": "r3_lenet5_avgpool", "study": study, "changes": changes}
    (folder / "record.json").write_text(json.dumps({**record, "config": nested(config)}))
    (folder / "summary.json").write_text(json.dumps({**SUMMARY, "status": status}))
    names = ["epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*names, "seconds", "images_per_second"])
        for epoch, accuracy in enumerate(accuracies, 1):
            writer.writerow([epoch, 1e-3, 0.5, 0.8, 0.4, accuracy, 3.0, 20000.0])


def written(folder: Path, name: str = "../results.md") -> str:
    """Write the pages and return one of them, results.md or one inside the folder of results."""
    assert main(["--results", str(folder)]) == 0
    return (folder / name).read_text(encoding="utf-8")


def line(page: str, *words: str) -> str:
    (found,) = [row for row in page.splitlines() if all(word in row for word in words)]
    return found


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
