"""The report's figures as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import fields, is_dataclass
from typing import Any

from parity.report.measure import Report

FORMAT = 2


def to_json(report: Report) -> str:
    """Return the report as JSON text, verdicts included.

    Infinite numbers, which JSON lacks, become "inf" and "-inf"; what is not a number, null.
    """
    facts = {"format": FORMAT, **_plain(report)}
    return json.dumps(facts, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        names = [each.name for each in fields(value)]
        names += [name for name in ("passed", "culprit", "share") if hasattr(value, name)]
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
