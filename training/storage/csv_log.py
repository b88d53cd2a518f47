"""Tables that grow line by line while a run goes on."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from training.storage.files import write_atomically


class CsvLog:
    """A CSV file: a header, then lines that are each written at once.

    Whatever the file held before is replaced.

    Args:
        path: of the file.
        header: the columns' names.
        rows: the lines that are there already.

    Raises:
        OSError: if it cannot be written.
    """

    def __init__(
        self, path: Path, header: Iterable[object], rows: Iterable[Iterable[object]] = ()
    ) -> None:
        self._path = path
        write_atomically(path, "".join(map(_line, [header, *rows])).encode())

    def append(self, cells: Iterable[object]) -> None:
        """Add a line; floats are written so that reading them gives the same bits.

        Raises:
            OSError: if it cannot be written, with the file's name.
        """
        try:
            with self._path.open("a", newline="") as file:
                file.write(_line(cells))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error


def _line(cells: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
