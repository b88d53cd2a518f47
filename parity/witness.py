"""The third witness: layer order, output shapes and parameter counts as the reports give them.

``witness.json`` is transcribed from the reports by hand and computed from neither side. Where a
report is silent (the hidden width of 50, the layers left out at five and four convolutions) it
holds the assumption that the networks' docstrings state.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One layer: attribute name, class name, output shape of one sample, number of parameters."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class Witness:
    """What a report, R0 to R4, says about a network, its class's arguments and its parameters.

    The network is named by its file; `input` is the shape of one sample, (C, H, W).
    """

    title: str
    report: str
    network: str
    arguments: dict[str, Any]
    input: tuple[int, ...]
    layers: list[Row]
    parameters: int


def witnesses() -> list[Witness]:
    """Return every entry of ``witness.json``."""
    entries = json.loads((Path(__file__).parent / "witness.json").read_text(encoding="utf-8"))
    for entry in entries.values():
        entry["input"] = tuple(entry["input"])
        entry["layers"] = [
            Row(name, kind, (*shape,), n) for name, kind, shape, n in entry["layers"]
        ]
    return [Witness(title, **entry) for title, entry in entries.items()]
