"""Exercises: folders that a student starts from. Each subfolder is one, as it is handed out."""

from __future__ import annotations

from importlib.resources import files as resources
from pathlib import Path

from parity import files
from parity.protocol import ParityError

NAMES = ("convolution", "pooling", "batch_norm", "cross_entropy", "adam", "network")


def write(name: str, folder: Path) -> None:
    """Write an exercise into a folder, which is made.

    Raises:
        ParityError: if the folder is not empty, or cannot be written.
    """
    files.make_folder(folder)
    try:
        occupied = any(folder.iterdir())
    except OSError as error:
        raise ParityError(f"cannot read {folder}: {error.strerror}") from error
    if occupied:
        raise ParityError(f"{folder} is not empty: an exercise starts in a folder of its own")
    here = resources(__name__)
    for file in ("exercise.py", "solution.py", "README.md"):
        files.write(folder / file, (here / name / file).read_bytes())
    files.write(folder / "test_solution.py", (here / "test_solution.py").read_bytes())


def exercise(name: str, folder: Path) -> int:
    """Write a folder that a student starts from; return the exit status."""
    write(name, folder)
    print(f"to start: {folder / 'README.md'}")
    print(f"to grade: python -m parity grade FOLDER --against {__name__}.{name}.exercise:pairs")
    return 0
