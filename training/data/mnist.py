"""MNIST: where its four files are, whether they are the real ones, and what they hold.

Files are looked for in `root/MNIST/raw/` (torchvision's layout) and in `root` itself, archives
before raw files. Each is an IDX file, plain or gzip-compressed: a header of four bytes and four for
each dimension, and then unsigned bytes in C order (Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST
database of handwritten digits").

Files may come from strangers. What they hold is known to the last bit, so nothing in them is
interpreted: no more is unpacked than MNIST's own has, the content must have the SHA-256 sum below,
and an archive the canonical MD5 sum as well.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from training.errors import ConfigError
from training.storage.files import read_bounded

#: Of a file that is read.
MAX_BYTES = 64 * 2**20
GZIP_MAGIC = b"\x1f\x8b"
ROOT_VARIABLE = "MNIST_ROOT"


class DataError(ConfigError):
    """Data that cannot be used, told in one sentence: what is at fault, why, and what to do."""

    def __init__(self, culprit: str | os.PathLike[str], reason: str, remedy: str) -> None:
        self.reason = reason
        super().__init__(f"{culprit}: {reason}; {remedy}.")


class MnistAbsentError(DataError):
    """No file of MNIST is there and none can be had: the one case in which `auto` takes digits."""


@dataclass(frozen=True)
class Part:
    """One of the four files."""

    name: str  # the raw file's; the archive's has `.gz` behind it
    shape: tuple[int, ...]
    archive_bytes: int
    md5: str  # of the archive
    sha256: str  # of the decoded content, IDX header included (`sha256sum` of the raw file)


@dataclass(frozen=True)
class Collection:
    """Four parts (training images and labels, test images and labels) and where to get them."""

    parts: tuple[Part, Part, Part, Part]
    mirrors: tuple[str, ...]


MNIST = Collection(
    parts=(
        Part(
            "train-images-idx3-ubyte",
            (60_000, 28, 28),
            9_912_422,
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        Part(
            "train-labels-idx1-ubyte",
            (60_000,),
            28_881,
            "d53e105ee54ea40749a09fcbcd1e9432",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        Part(
            "t10k-images-idx3-ubyte",
            (10_000, 28, 28),
            1_648_877,
            "9fb629c4189551a2d022fa330f9573f3",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        Part(
            "t10k-labels-idx1-ubyte",
            (10_000,),
            4_542,
            "ec29112dd5afa0611ce80d1b7f02629c",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ),
)


@dataclass(frozen=True)
class Place:
    """A root folder, and why no files may be downloaded into it; "" if they may."""

    root: Path
    barred: str = ""

    @property
    def raw(self) -> Path:
        """Where torchvision keeps the files, and where they are downloaded to."""
        return self.root / "MNIST" / "raw"


def find_place(root: str | os.PathLike[str] | None, download: bool = True) -> Place:
    """Return where MNIST is to be found, and whether it may be downloaded to there.

    The environment variable MNIST_ROOT comes first and is never written into; then `root`; then
    `lenet-twins` in the user's cache directory ($XDG_CACHE_HOME or ~/.cache).
    """
    barred = "" if download else "downloading is switched off"
    named = os.environ.get(ROOT_VARIABLE)
    try:
        if named:
            return Place(Path(named).expanduser(), f"{ROOT_VARIABLE} is never downloaded to")
        if root is not None and str(root):
            return Place(Path(root).expanduser(), barred)
        cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
        cache = cache if cache.is_absolute() else Path.home() / ".cache"
        return Place(cache / "lenet-twins", barred)
    except RuntimeError as error:
        raise DataError(named or root or "~/.cache", str(error), "give a full path") from error


def load_mnist(
    place: Place,
    *,
    patient: bool = True,
    collection: Collection = MNIST,
    announce: Callable[[str], object] = print,
) -> tuple[np.ndarray, ...]:
    """Find or download the four files, verify them and return their arrays.

    They are read-only uint8: training images (60000, 28, 28), training labels (60000,), test images
    (10000, 28, 28), test labels (10000,).

    `patient` waits for a slow mirror instead of giving up within seconds; `announce` is told before
    a download starts.

    Raises:
        MnistAbsentError: none of the files is there, and they cannot be had.
        DataError: the root is a file, a file is damaged, or only some of the four are there.
    """
    if os.path.isfile(place.root):  # False for what cannot even be a path
        raise DataError(place.root, "it is a file", "give the folder of MNIST's files")
    paths = {part: _find(part, place) for part in collection.parts}
    missing = [part for part, path in paths.items() if path is None]
    if missing:
        paths |= _obtain(missing, place, collection, patient, announce)
    remedy = "delete it, and the next run downloads it again"
    if place.barred:
        remedy = "put the original file in its place, or choose data=digits"
    return tuple(verify_part(part, path, remedy) for part, path in paths.items() if path)


def _obtain(
    missing: list[Part],
    place: Place,
    collection: Collection,
    patient: bool,
    announce: Callable[[str], object],
) -> dict[Part, Path]:
    """Download the missing files, or say why they cannot be had."""
    error, what = DataError, ", ".join(part.name + ".gz" for part in missing)
    if len(missing) == len(collection.parts):
        error, what = MnistAbsentError, "MNIST"
    if place.barred:
        reason = f"not found in {place.root} or its MNIST/raw, and {place.barred}"
        raise error(what, reason, "put the missing files there, or choose data=digits")

    from training.data import download as net  # needed once, and slow to import

    files = [net.RemoteFile(part.name + ".gz", part.archive_bytes, part.md5) for part in missing]
    size = sum(file.size for file in files) / 1e6
    announce(f"data: {what} is not in {place.root}; trying to download it ({size:.1f} MB)")
    limits = net.PATIENT if patient else net.QUICK
    try:
        paths = net.fetch(files, collection.mirrors, place.raw, limits)
    except net.DownloadError as failure:
        reason = f"not found in {place.root} and could not be downloaded ({failure})"
        remedy = f"try again later, point {ROOT_VARIABLE} at a copy, or choose data=digits"
        raise error(what, reason, remedy) from failure
    return dict(zip(missing, paths, strict=True))


def verify_part(part: Part, path: Path, remedy: str) -> np.ndarray:
    """Read one file and return its array if it is the real one, otherwise raise `DataError`."""
    header = 4 + 4 * len(part.shape)
    size = header + math.prod(part.shape)
    try:
        data = read_bounded(path, MAX_BYTES)
        archive = data.startswith(GZIP_MAGIC)
        content = _unpacked(data, size + 1) if archive else data
    except ValueError as error:
        raise DataError(path, str(error), remedy) from error
    if hashlib.sha256(content).hexdigest() != part.sha256:
        reason = f"its content is not MNIST's (SHA-256 differs from {part.sha256})"
        if content.lstrip()[:1] == b"<":
            reason = "it is an HTML or XML page"
        elif len(content) != size:
            more = "more than " if len(content) > size else ""
            reason = f"it holds {more}{min(len(content), size):,} bytes, and MNIST's {size:,}"
        raise DataError(path, reason, remedy)
    if archive and hashlib.md5(data, usedforsecurity=False).hexdigest() != part.md5:
        raise DataError(path, f"its MD5 sum is not the original's {part.md5}", remedy)
    return np.frombuffer(content, np.uint8, offset=header).reshape(part.shape)


def _unpacked(archive: bytes, most: int) -> bytes:
    """Return an archive's content, or its first bytes if it has more than that."""
    try:
        with gzip.GzipFile(fileobj=BytesIO(archive)) as file:
            return file.read(most)
    except EOFError:
        raise ValueError("its gzip data is cut short") from None
    except (OSError, zlib.error) as error:
        raise ValueError(f"its gzip data is damaged ({error})") from error


def _find(part: Part, place: Place) -> Path | None:
    """Return the first of the places where a part may be that holds something of its name."""
    for folder in (place.raw, place.root):
        for name in (part.name + ".gz", part.name):
            path = folder / name
            try:
                path.lstat()
                return path
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, ValueError) as error:
                reason = f"it cannot be looked up ({getattr(error, 'strerror', None) or error})"
                raise DataError(path, reason, "give another folder") from error
    return None
