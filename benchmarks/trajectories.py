"""Try the trajectory rule on fresh seeds and every planted fault, under every set of kernels.

A right pair must stay inside the envelope (`parity.trajectory`), whatever the seed and whoever's
kernels; a wrong one must not. Each network trains in both dtypes on seeds that no test uses.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

from benchmarks import command, kernel_sets
from parity import kernels
from parity.faults import matrix
from parity.faults.recall import Recall
from parity.networks import batches, network_cases, optimizer_of, pair, recipe
from parity.trajectory import follow

FIRST_SEED = 1000


def main() -> None:
    """Run the command."""
    parser = command.parser("trajectories", __doc__)
    parser.add_argument(
        "--seeds",
        type=command.positive,
        default=1,
        help="fresh seeds for each network under each set (default: %(default)s)",
    )
    parser.add_argument(
        "--faults", action="store_true", help="plant every fault under each set too"
    )
    options = parser.parse_args()
    count = len(network_cases()) * options.seeds
    firsts = (FIRST_SEED + count * number for number in range(len(kernels.SETS)))
    jobs = [
        {"seeds": list(range(first, first + count)), "faults": options.faults} for first in firsts
    ]
    with command.measurement("trajectories", options, "torch", "numpy") as content:
        kernel_sets.measure(content, "benchmarks.trajectories:work", jobs, _told)
        content["seeds"] = count * len(content["results"])


def _told(answer: dict[str, Any]) -> str:
    return (
        f"{max(answer['shares'].values()):.2f} of the envelope at most, {len(answer['alarms'])} "
        f"false alarms, {len(answer['survivors'])} of {answer['planted']} faults alive"
    )


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
    recall = Recall()
    kills = [matrix.kill(fault, recall) for fault in (matrix.faults() if job["faults"] else [])]
    return {
        "shares": shares,
        "alarms": alarms,
        "planted": len(kills),
        "survivors": [each.fault.name for each in kills if each.survived],
    }


if __name__ == "__main__":
    command.run("trajectories", main)
