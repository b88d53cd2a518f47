"""Print the tables of result files side by side, or write them into a page.

In the page a table stands between the lines `<!-- table: NAME -->` and `<!-- end -->`.

    python -m benchmarks.table benchmarks/results/step*.json
    python -m benchmarks.table benchmarks/results/*-*-*.json --page docs/performance.md
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

from benchmarks import command, report
from benchmarks.harness import BenchmarkError
from training.storage.files import write_atomically

PLACE = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Print or write as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.table", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the tables in there")
    options = parser.parse_args()
    found = report.sections([command.read(path) for path in options.files])
    if options.page is None:
        print("\n\n".join(f"{name}\n\n{text}" for name, text in found.items()))
        return
    with command.writing(options.page):
        text = filled(options.page.read_text(encoding="utf-8"), found)
        write_atomically(options.page, text.encode())


def filled(page: str, tables: Mapping[str, str]) -> str:
    """Return the page with these tables in their places.

    Raises:
        BenchmarkError: if the page has a place for another one.
    """

    def table(place: re.Match[str]) -> str:
        if place[2] not in tables:
            raise BenchmarkError(f"these files have no table {place[2]!r} for the page")
        return f"{place[1]}\n{tables[place[2]]}\n\n{place[3]}"

    return PLACE.sub(table, page)


if __name__ == "__main__":
    command.run("table", main)
