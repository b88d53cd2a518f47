"""The parity report: figures of every network as one HTML page and one JSON file.

`parity.report.measure` measures, `parity.report.record` writes JSON, `parity.report.page` HTML.
"""

from __future__ import annotations

from collections.abc import Sequence


def command(arguments: Sequence[str]) -> int:
    """Run ``python -m parity report``; return 0 if all agree, 1 if not, 2 for bad input.

    Args:
        arguments: the words after ``report``.
    """
    from parity.report.cli import run

    return run(arguments)
