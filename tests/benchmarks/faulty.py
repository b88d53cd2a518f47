"""An implementation that is wrong, run in a worker: its learning rate is one percent too high."""

from __future__ import annotations

from typing import Any

from benchmarks.project_tasks import ProjectStep


class FaultyStep(ProjectStep):
    def __init__(self, threads: int, network: str, **arguments: Any) -> None:
        super().__init__(threads, network, rate=1.01e-3, **arguments)
