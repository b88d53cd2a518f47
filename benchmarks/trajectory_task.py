"""What `benchmarks.trajectories` has each process do: train right pairs, and plant faults."""

from __future__ import annotations

import sys
from itertools import cycle
from typing import Any

from parity.faults import matrix
from parity.kernel_process import main
from parity.networks import batches, network_cases, optimizer_of, pair, recipe
from parity.trajectory import follow


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Train each network in turn, a seed each, in both dtypes; plant the faults if asked to."""
    shares: dict[str, float] = {}
    alarms = []
    for case, seed in zip(cycle(network_cases()), job["seeds"], strict=False):
        for dtype in ("float32", "float64"):
            made = pair(case.name, dtype, seed=seed, **case.arguments)
            how = recipe(*optimizer_of(case))
            steps = batches(case.input, dtype, seed)
            found = follow(made.torch_module, made.numpy_network, steps, how, seed=seed)
            share = max(check.share for step in found.steps for check in step)
            shares[str(case)] = max(share, shares.get(str(case), 0.0))
            if not found.passed:
                alarms.append(f"{case}, {dtype}, seed {seed}: {found.failures[0]}")
    kills = [matrix.kill(fault) for fault in (matrix.faults() if job["faults"] else [])]
    return {
        "shares": shares,
        "alarms": alarms,
        "planted": len(kills),
        "survivors": [each.fault.name for each in kills if each.survived],
    }


if __name__ == "__main__":
    sys.exit(main(work))
