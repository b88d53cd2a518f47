"""The report's figures as JSON."""

from __future__ import annotations

import json
import math
import re
from dataclasses import fields, is_dataclass
from typing import Any

from parity.report.figures import Report

FORMAT = 1
_DERIVED = ("passed", "culprit", "verdict", "share")
_ROW = re.compile(r'\[\n[^\[\]{}"]*\]')  # a list of numbers: one line is easier to read


def to_json(report: Report) -> str:
    """Return the report as JSON text, verdicts included.

    Infinite numbers, which JSON lacks, become "inf" and "-inf"; what is not a number, null.
    """
    facts = {"format": FORMAT, **_plain(report)}
    text = json.dumps(facts, ensure_ascii=False, allow_nan=False, indent=1)
    return _ROW.sub(lambda row: " ".join(row.group().split()), text) + "\n"


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        names = [each.name for each in fields(value)]
        names += [name for name in _DERIVED if hasattr(value, name) and name not in names]
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
