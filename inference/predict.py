"""`python -m inference predict`: the digits in a photo, a scan or a drawing."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference import images
from inference.networks import add_backend, chosen_backends
from inference.preprocessing import BlankError
from inference.reading import Reading, read_number
from inference.weights import find
from training.errors import ConfigError

DEFAULT = "lenet5_bn"
#: Classes that are shown.
TOP = 3
SHADES = " .:-=+*#%@"
#: Formats of `--explain`.
PICTURES = (".png", ".pdf", ".svg", ".jpg")


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    made = argparse.ArgumentParser(
        prog="python -m inference predict",
        description="The digits in photos, scans or drawings; several in a row are a number.",
    )
    add = made.add_argument
    add("images", nargs="+", metavar="IMAGE", help="files, folders, or - for standard input")
    words = "a network's name, a run's folder or a .safetensors file (default: %(default)s)"
    add("--weights", default=DEFAULT, help=words)
    add_backend(made, "both")
    add("--explain", type=Path, metavar="FILE", help="draw the steps of one image (.png, .pdf)")
    add("--json", action="store_true", help="print one JSON object for each image")
    return made


def main(arguments: Sequence[str]) -> None:
    """Read the images, and print what they show.

    An image that cannot be read or is blank is told on standard error and does not keep the others
    from being read; the command then exits with status 2.
    """
    options = parser().parse_args(arguments)
    weights, backends = find(options.weights), chosen_backends(options.backend)
    places = images.collect(options.images)
    if options.explain and len(places) > 1:
        raise ConfigError(f"--explain draws one image, not {len(places)}: give one")
    if options.explain and options.explain.suffix not in PICTURES:
        raise ConfigError(f"--explain {options.explain}: choose a name in {', '.join(PICTURES)}")
    failed = False
    for place in places:
        try:
            reading = read_number(images.read(place), weights, backends)
        except (ConfigError, BlankError) as error:
            print(ConfigError(f"{place}: {error}"), file=sys.stderr, flush=True)
            failed = True
            continue
        text = json.dumps(result(place, reading)) if options.json else report(place, reading)
        print(text, flush=True)
        if options.explain:
            from inference import explain  # matplotlib takes longer to import than all the rest

            explain.draw(options.explain, place, reading)
    if failed:
        sys.exit(2)


def result(place: str, reading: Reading) -> dict[str, Any]:
    """Return what an image shows as JSON values."""
    return {
        "image": place,
        "number": reading.number,
        "digits": [
            {"box": list(digit.box)}
            | {backend: each[i].tolist() for backend, each in reading.probabilities.items()}
            for i, digit in enumerate(reading.digits)
        ],
        "largest_difference": reading.difference,
    }


def report(place: str, reading: Reading) -> str:
    """Return what an image shows: what the network saw, and its first choices for each digit."""
    lines = [f"{place}: {reading.number}"]
    first = next(iter(reading.probabilities.values()))
    for seen, probabilities in zip(reading.seen, first, strict=True):
        best = np.argsort(-probabilities, kind="stable")[:TOP]
        lines += [f"  {row}" for row in shades(seen)]
        lines.append("  " + "   ".join(f"{digit}: {probabilities[digit]:.1%}" for digit in best))
    if reading.difference is not None:
        answers = {
            backend: "".join(map(str, found.argmax(axis=1)))
            for backend, found in reading.probabilities.items()
        }
        told = ", ".join(f"{backend} {number}" for backend, number in answers.items())
        lines.append(f"  {told}; largest difference of a probability {reading.difference:.1g}")
    return "\n".join(lines)


def shades(image: NDArray[np.uint8]) -> list[str]:
    """Return an image (28, 28) as 14 lines of characters, which are twice as high as wide."""
    pairs = image.reshape(14, 2, 28).mean(axis=1)
    return ["".join(SHADES[int(level / 256 * len(SHADES))] for level in row) for row in pairs]
