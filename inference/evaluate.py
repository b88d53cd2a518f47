"""`python -m inference evaluate`: what weights reach on labelled images."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.networks import add_backend, chosen_backends, largest_difference, logits
from inference.weights import find
from training.data import DataError, Dataset, load_dataset
from training.errors import ConfigError
from training.trainer.evaluation import Scores, confusion_matrix, most_confident_errors, score

CLASSES = 10


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    made = argparse.ArgumentParser(
        prog="python -m inference evaluate",
        description="Accuracy, loss, confusion matrix and most confident errors on test images.",
    )
    add = made.add_argument
    add("weights", help="a network's name, a run's folder or a .safetensors file")
    add_backend(made, "numpy")
    add("--data", choices=("mnist", "digits"), default="mnist", help="(default: %(default)s)")
    add("--errors", type=_natural, default=10, metavar="N", help="number of errors to list")
    add("--pictures", type=Path, metavar="FOLDER", help="draw matrix and errors in this folder")
    add("--json", action="store_true", help="print one JSON object")
    return made


def main(arguments: Sequence[str]) -> None:
    """Evaluate, and print the result."""
    options = parser().parse_args(arguments)
    weights = find(options.weights)
    try:
        dataset = load_dataset(options.data, announce=lambda _: None)
    except DataError as error:
        remedy = str(error).replace("data=digits", "--data digits")  # as this command has it
        raise ConfigError(remedy) from error
    labels = dataset.test_labels
    found = {
        backend: logits(weights, dataset.test_images, backend)
        for backend in chosen_backends(options.backend)
    }
    scores = {backend: score(output, labels) for backend, output in found.items()}
    difference, first = largest_difference(list(found.values())), next(iter(scores.values()))
    if options.pictures:
        _draw(options.pictures, first, dataset, f"{weights.model}, {dataset.name}")
    if options.json:
        results = {name: result(each, labels, options.errors) for name, each in scores.items()}
        record = {"weights": options.weights, "model": weights.model, "dataset": dataset.name}
        record |= {"results": results, "largest_difference_of_logits": difference}
        print(json.dumps(record, indent=1))
        return
    print(f"{weights.model} on the {len(labels):,} test images of {dataset.name}")
    for name, each in scores.items():
        print(f"{name:<6} accuracy {each.accuracy:.2%}  loss {each.loss:.4f}")
    if difference is not None:
        print(f"largest difference between the twins' logits: {difference:.2g}")
    print(f"\n{report(first, labels, options.errors)}")


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text}")
    return int(text)


def result(scores: Scores, labels: NDArray[np.int64], errors: int) -> dict[str, Any]:
    """Return accuracy, loss, confusion matrix and most confident errors as JSON values."""
    worst = most_confident_errors(scores, labels, errors)
    return {
        "accuracy": scores.accuracy,
        "loss": scores.loss,
        "images": len(labels),
        "confusion": confusion_matrix(labels, scores.predictions).tolist(),
        "most_confident_errors": [
            {"image": int(i), "true": int(labels[i]), "predicted": int(scores.predictions[i])}
            | {"probability": float(scores.probabilities[i].max())}
            for i in worst
        ],
    }


def report(scores: Scores, labels: NDArray[np.int64], errors: int) -> str:
    """Return the tables by class and of confusions, and the most confident errors."""
    confusion = confusion_matrix(labels, scores.predictions)
    lines = ["class  images  errors   recall  precision"]
    for digit in range(CLASSES):
        images, right = int(confusion[digit].sum()), int(confusion[digit, digit])
        recall, precision = (_share(right, axis) for axis in (images, confusion[:, digit].sum()))
        lines.append(f"{digit:>5}  {images:>6,}  {images - right:>6}  {recall:>7}  {precision:>9}")
    lines += ["", "true \\ predicted" + "".join(f"{digit:>6}" for digit in range(CLASSES))]
    for digit, row in enumerate(confusion):
        lines.append(f"{digit:>16}" + "".join(f"{count or '.':>6}" for count in row))
    worst = most_confident_errors(scores, labels, errors)
    lines += ["", f"the {len(worst)} most confident errors" if len(worst) else "no errors"]
    for i in worst:
        true, predicted = labels[i], scores.predictions[i]
        confidence = scores.probabilities[i, predicted]
        lines.append(f"  image {i:>5}: true {true}, predicted {predicted} ({confidence:.1%})")
    return "\n".join(lines)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "-"


def _draw(folder: Path, scores: Scores, dataset: Dataset, label: str) -> None:
    from training.trainer import pictures  # matplotlib, which most calls do without

    folder.mkdir(parents=True, exist_ok=True)
    pictures.confusion(folder / "confusion.png", scores, dataset, label)
    pictures.worst(folder / "worst.png", scores, dataset, label)
