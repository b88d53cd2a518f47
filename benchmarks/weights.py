"""Writes `pretrained/`: weights of a network and their record, from runs that differ in the seed.

    python train.py --multirun experiment=best_lenet5_bn seed=0,1,2,3,4
    python -m benchmarks.weights outputs/.../..._sweep

Without runs, the table of docs/inference.md is printed from the records that are there. The weights
are those of the smallest seed, so that the test images choose nothing; the record says
what all runs reach, each evaluated by both backends.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev

import numpy as np

import pretrained
from benchmarks import command
from benchmarks.harness import BenchmarkError
from inference.networks import BACKENDS, logits
from inference.weights import find
from studies import records
from training.data import load_dataset
from training.errors import ConfigError
from training.storage.files import write_atomically

AUGMENTATION = ("flip", "shift", "rotation")
#: Decimals of the accuracies, which are counts of 10,000 images.
DECIMALS = 6


def main() -> None:
    """Write the weights and the record of each network that the runs are of."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.weights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("runs", type=Path, nargs="*", help="folders of runs or of sweeps")
    try:
        found = [run for folder in options.parse_args().runs for run in records.find(folder)]
        models = {str(run.setting("model.name")) for run in found}
        for model in sorted(models):
            package([run for run in found if run.setting("model.name") == model])
    except ConfigError as error:
        raise BenchmarkError(str(error)) from error
    if not found:
        print(table())


def table() -> str:
    """Return what the records say, as Markdown."""
    lines = ["| network | these weights | mean of n runs | epochs | minutes |", "|" + " --- |" * 5]
    for name in pretrained.names():
        meta = pretrained.load(name).meta
        both, runs = meta["test_accuracy"], meta["runs"]
        count, std = len(runs["seeds"]), runs["std"]["numpy"]
        spread = "" if std is None else f" ± {std * 100:.2f}"
        own = " / ".join(dict.fromkeys(f"{both[backend] * 100:.2f} %" for backend in BACKENDS))
        lines.append(
            f"| `{name}` | {own} | {runs['mean']['numpy'] * 100:.2f}{spread} % (n = {count}) "
            f"| {meta['epochs']} | {meta['minutes']} |"
        )
    return "\n".join(lines)


def package(runs: list[records.Record]) -> None:
    """Write the weights of the run with the smallest seed, and the record of all."""
    runs = sorted(runs, key=lambda run: run.seed)
    first = runs[0]
    for run in runs:
        if run.status != "finished" or run.dataset != "mnist" or run.setting("data.validation"):
            raise BenchmarkError(f"{run.directory} is not a finished run on all of MNIST")
        if records.differences(records.flatten(first.config), run.config):
            raise BenchmarkError(f"{run.directory} has other settings than {first.directory}")
    weights = find(str(first.directory))
    accuracies: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
    differences = []
    for run in runs:
        command.announce(f"evaluating {run.directory}")
        outputs = evaluate(run)
        for backend, (accuracy, _) in outputs.items():
            accuracies[backend].append(accuracy)
        differences.append(float(abs(outputs["numpy"][1] - outputs["torch"][1]).max()))
    meta = {
        "model": weights.model,
        "arguments": dict(weights.arguments),
        "preprocessing": asdict(weights.preprocessing),
        "dataset": first.dataset,
        "command": f"python train.py experiment={first.experiment} seed={first.seed}",
        "seed": first.seed,
        "epochs": first.summary["epochs"],
        "augmentation": {key: first.setting(f"data.{key}") for key in AUGMENTATION},
        "minutes": round(first.summary["seconds"] / 60, 1),
        "processor": f"{first.summary['processor']} ({first.summary['threads']} threads)",
        "test_accuracy": {backend: found[0] for backend, found in accuracies.items()},
        "largest_difference_of_logits": max(differences),
        "runs": {
            "seeds": [run.seed for run in runs],
            "test_accuracies": accuracies,
            "mean": {key: round(mean(found), DECIMALS) for key, found in accuracies.items()},
            "std": {
                key: round(stdev(found), DECIMALS) if len(found) > 1 else None
                for key, found in accuracies.items()
            },
        },
    }
    text = json.dumps(meta, indent=1, ensure_ascii=False) + "\n"
    write_atomically(pretrained.FOLDER / f"{weights.model}.json", text.encode())
    content = (first.directory / "weights.safetensors").read_bytes()
    write_atomically(pretrained.FOLDER / f"{weights.model}.safetensors", content)


def evaluate(run: records.Record) -> dict[str, tuple[float, np.ndarray]]:
    """Return each backend's accuracy on the test images, and its logits."""
    dataset = load_dataset("mnist", run.setting("data.root"), announce=lambda _: None)
    weights = find(str(run.directory))
    result = {}
    for backend in BACKENDS:
        output = logits(weights, dataset.test_images, backend)
        right = output.argmax(axis=1) == dataset.test_labels
        result[backend] = round(float(right.mean()), DECIMALS), output
    return result


if __name__ == "__main__":
    command.run("weights", main)
