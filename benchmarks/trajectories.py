"""Try the trajectory rule on fresh seeds and every planted fault, under every set of kernels.

A right pair must stay inside the envelope (`parity.trajectory`), whatever the seed and whoever's
kernels; a wrong one must not. Each network trains in both dtypes on seeds that no test uses.
"""

from __future__ import annotations

from typing import Any

from benchmarks import command, report
from benchmarks.harness import BenchmarkError
from parity import kernels
from parity.networks import network_cases
from parity.protocol import ParityError

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
    results: dict[str, Any] = {}
    lacking: dict[str, str] = {}
    count = len(network_cases()) * options.seeds
    jobs = [
        (chosen, {"seeds": list(range(first, first + count)), "faults": options.faults})
        for chosen, first in zip(kernels.SETS, range(FIRST_SEED, 10**9, count), strict=False)
    ]
    try:
        for chosen, answer in kernels.run_each("benchmarks.trajectory_task", jobs):
            if "lacking" in answer:
                lacking[chosen.name] = answer["lacking"]
            else:
                results[chosen.name] = answer
                worst = max(answer["shares"].values())
                command.announce(
                    f"{chosen.name}: {worst:.2f} of the envelope at most, {len(answer['alarms'])} "
                    f"false alarms, {len(answer['survivors'])} of {answer['planted']} faults alive"
                )
    except ParityError as error:
        raise BenchmarkError(str(error)) from error
    record = {
        "benchmark": "trajectories",
        "environment": command.environment() | {"versions": command.versions("torch", "numpy")},
        "seeds": count * len(results),
        "lacking": lacking,
        "results": results,
    }
    print(table(record))
    command.save(options, record)


def table(record: dict[str, Any]) -> str:
    """Return the largest share of the envelope, by network and set, and what went wrong."""
    results = record["results"]
    header = ["network", *results, "all"]
    rows = []
    for network in next(iter(results.values()))["shares"] if results else []:
        shares = [answer["shares"][network] for answer in results.values()]
        rows.append([network, *(f"{share:.2f}" for share in [*shares, max(shares)])])
    alarms = [
        f"- {name}: {alarm}" for name, answer in results.items() for alarm in answer["alarms"]
    ]
    survivors = [
        f"- {name}: {fault}" for name, answer in results.items() for fault in answer["survivors"]
    ]
    planted = sum(answer["planted"] for answer in results.values())
    lines = [
        report.place(record["environment"]),
        "",
        report.table(header, rows),
        "",
        f"{record['seeds']} seeds, each in float32 and float64: {len(alarms)} false alarms",
        *alarms,
    ]
    if planted:
        lines += [f"{planted} faults planted in all: {len(survivors)} survivors", *survivors]
    return "\n".join(lines + report.left_out(record["lacking"]))


if __name__ == "__main__":
    command.run("trajectories", main)
