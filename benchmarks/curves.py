"""How closely both backends' training curves agree, same seed, under every set of kernels.

Rounding differs between the backends and grows as they train; how far depends on the network and
on whose kernels compute. Each network trains for a few epochs on the digits that scikit-learn
bundles, on either backend, through `train.py` as a user would, in processes of their own.
"""

from __future__ import annotations

from typing import Any

from benchmarks import command, report
from benchmarks.curves_task import MODELS, Curve
from benchmarks.harness import BenchmarkError
from parity import kernels
from parity.protocol import ParityError


def main() -> None:
    """Run the command."""
    parser = command.parser("curves", __doc__)
    parser.add_argument("--seed", type=int, default=7, help="of every run (default: %(default)s)")
    parser.add_argument(
        "--epochs", type=command.positive, default=2, help="of every run (default: %(default)s)"
    )
    options = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    curves: dict[str, Any] = {}
    lacking: dict[str, str] = {}
    jobs: list[Any] = [
        (chosen, {"seed": options.seed, "epochs": options.epochs}) for chosen in kernels.SETS
    ]
    try:
        for chosen, answer in kernels.run_each("benchmarks.curves_task", jobs):
            if "lacking" in answer:
                lacking[chosen.name] = answer["lacking"]
                continue
            curves[chosen.name] = answer
            results[chosen.name] = {m: difference(*sides.values()) for m, sides in answer.items()}
            command.announce(f"{chosen.name}: {max(results[chosen.name].values()):.1e} at most")
    except ParityError as error:
        raise BenchmarkError(str(error)) from error
    record = {
        "benchmark": "curves",
        "environment": command.environment() | {"versions": command.versions("torch", "numpy")},
        "settings": {"data": "digits", "seed": options.seed, "epochs": options.epochs},
        "lacking": lacking,
        "results": results,
        "curves": curves,
    }
    print(table(record))
    command.save(options, record)


def difference(one: Curve, other: Curve) -> float:
    """Return the largest difference between the losses of two curves."""
    return max(
        abs(mine[name] - theirs[name])
        for mine, theirs in zip(one, other, strict=True)
        for name in mine
    )


def table(record: dict[str, Any]) -> str:
    """Return the largest difference in loss by network and set, as a Markdown table."""
    results, settings = record["results"], record["settings"]
    rows = [[name, *(f"{row[model]:.1e}" for model in MODELS)] for name, row in results.items()]
    if results:
        largest = (max(row[model] for row in results.values()) for model in MODELS)
        rows.append(["largest", *(f"{value:.1e}" for value in largest)])
    lines = [
        report.place(record["environment"]),
        "",
        f"Largest difference between the backends' training and test losses over "
        f"{settings['epochs']} epochs of {settings['data']}, seed {settings['seed']}:",
        "",
        report.table(["kernels", *MODELS], rows),
    ]
    return "\n".join(lines + report.left_out(record["lacking"]))


if __name__ == "__main__":
    command.run("curves", main)
