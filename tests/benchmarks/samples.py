"""What a result file of `benchmarks.step` holds, with made-up times."""

from __future__ import annotations

from typing import Any

from benchmarks.harness import samples

TIMES = {
    "numpy": [0.008, 0.010],
    "torch": [0.010, 0.010],
    "torch-kept": [0.008, 0.008],
    "jax": [0.040, 0.040],
}


def result(kind: str = "step", threads: int = 2, **times: list[float]) -> dict[str, Any]:
    place = {"kind": kind, "network": "lenet5_relu", "batch": 256, "threads": threads}
    return place | {"seconds": samples(times or TIMES)}


def content(**changes: Any) -> dict[str, Any]:
    environment = {
        "processor": "AMD EPYC",
        "cores": 2,
        "date": "2026-11-21T00:00:00",
        "python": "3",
    }
    return {
        "benchmark": "step",
        "environment": environment | {"versions": {"numpy": "2"}},
        "settings": {"numpy": "a process per core"},
        "results": [result()],
        **changes,
    }
