"""Images from files that may be a stranger's, as grey levels: bounded, verified, upright."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from training.errors import ConfigError
from training.storage.files import read_bounded

MAX_BYTES = 64 * 2**20
MAX_PIXELS = 120_000_000  # 108 megapixels is what telephones take
#: Formats that are read; none of them is a program, as PostScript is.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
#: Pixels on the longer side that are left of a larger image.
LONGEST = 640
STDIN = "-"


def collect(places: Iterable[str]) -> list[str]:
    """Return the files that arguments mean: a folder's images by name, or themselves."""
    found: list[str] = []
    for place in places:
        path = Path(place)
        try:
            known = place == STDIN or path.is_file()
            inside = sorted(map(str, path.iterdir())) if not known and path.is_dir() else None
        except OSError as error:
            raise ConfigError(f"{place}: it cannot be read ({error.strerror})") from error
        if known:
            found.append(place)
        elif inside is not None:
            inside = [name for name in inside if Path(name).suffix.lower() in SUFFIXES]
            if not inside:
                raise ConfigError(f"{place}: the folder holds no image ({', '.join(SUFFIXES)})")
            found += inside
        else:
            raise ConfigError(f"{place}: there is no such file or folder")
    return found


def read(place: str) -> NDArray[np.float32]:
    """Return an image's grey levels, 0 black to 1 white, at most `LONGEST` pixels to a side.

    Transparent parts are white, of several frames the first is taken, and an image is turned as its
    camera says. The place is a file, or "-" for standard input.
    """
    data = _bytes(place)
    if not data:
        raise ConfigError("it is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is read around, and of large images
            return _decode(data)
    except UnidentifiedImageError:
        kinds = ", ".join(FORMATS)
        raise ConfigError(f"it is not an image of a kind that is read ({kinds})") from None
    except Image.DecompressionBombError:  # raised by Pillow, and below
        told = f"it has more than {MAX_PIXELS:,} pixels: scale it down"
        raise ConfigError(told) from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        reason = "".join(filter(str.isprintable, str(error)))[:100] or type(error).__name__
        raise ConfigError(f"the image is damaged ({reason})") from error


def _bytes(place: str) -> bytes:
    if place == STDIN:
        try:
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        except OSError as error:
            raise ConfigError(f"it cannot be read ({error.strerror})") from error
        if len(data) > MAX_BYTES:
            raise ConfigError(f"it has more than the limit of {MAX_BYTES:,} bytes")
        return data
    try:
        return read_bounded(place, MAX_BYTES)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _decode(data: bytes) -> NDArray[np.float32]:
    with Image.open(BytesIO(data), formats=FORMATS) as opened:
        width, height = opened.size
        if width * height > MAX_PIXELS:
            raise Image.DecompressionBombError
        opened.draft("L", (LONGEST, LONGEST))  # JPEG is decoded no larger than needed
        image: Image.Image = opened
        if opened.mode.startswith("I;16"):
            levels = np.asarray(opened, np.float32) / 65535
            image = Image.fromarray((levels * 255).astype(np.uint8))
        image.load()
        if "A" in image.getbands() or "transparency" in image.info:
            paper = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(paper, image.convert("RGBA"))
        image = ImageOps.exif_transpose(image).convert("L")
    if max(image.size) > LONGEST:
        image.thumbnail((LONGEST, LONGEST), Image.Resampling.BOX)
    return np.asarray(image, np.float32) / np.float32(255)
