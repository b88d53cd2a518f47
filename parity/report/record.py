"""The report's figures as JSON."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict
from typing import Any

from parity.report.figures import Network, Report

FORMAT = 1
_ROW = re.compile(r'\[\n[^\[\]{}"]*\]')  # a list of numbers: one line is easier to read


def to_json(report: Report) -> str:
    """Return the report as JSON text, verdicts included.

    Infinite numbers, which JSON lacks, become "inf" and "-inf"; what is not a number, null.
    """
    plain = asdict(report)
    plain["networks"] = [_network(network) for network in report.networks]
    facts = {"format": FORMAT, "passed": report.passed, **plain}
    text = json.dumps(_finite(facts), ensure_ascii=False, allow_nan=False, indent=1)
    return _ROW.sub(lambda row: " ".join(row.group().split()), text) + "\n"


def _network(network: Network) -> dict[str, Any]:
    plain = asdict(network)
    for key in ("runs", "trainings"):
        for entry, part in zip(plain[key], getattr(network, key), strict=True):
            entry["passed"] = part.passed
    verdicts = {"passed": network.passed, "culprit": network.culprit, "verdict": network.verdict}
    return {"name": network.name, **verdicts, **plain}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
