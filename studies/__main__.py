"""`python -m studies`: write docs/results.md and its pictures from the records kept there.

`python -m studies --collect DIR ...` first keeps the records of finished runs: of a run's
folder, or of every job in a sweep's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from studies import collection, page
from training.errors import ConfigError

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments ask for; return the exit status, 2 after a user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m studies", description=__doc__)
    parser.add_argument(
        "--collect", nargs="+", type=Path, default=[], metavar="DIR", help="runs or sweeps to keep"
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, metavar="DIR", help="where the records are kept"
    )
    options = parser.parse_args(arguments)
    try:
        for kept in collection.collect(options.collect, options.results / collection.RUNS):
            print(f"kept {kept}")
        print(f"wrote {page.write(options.results)}")
    except ConfigError as error:
        print(f"studies: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"studies: cannot write {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
