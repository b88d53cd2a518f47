"""How closely both backends' training curves agree, same seed, under every set of kernels.

Rounding differs between the backends and grows as they train; how far depends on the network and
on whose kernels compute. Each network trains for a few epochs on the digits that scikit-learn
bundles, on either backend, through `train.py` as a user would, in processes of their own.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks import command
from benchmarks.harness import ROOT, BenchmarkError
from parity import kernels
from parity.protocol import ParityError

MODELS = sorted(path.stem for path in (ROOT / "conf" / "model").glob("*.yaml"))
BACKENDS = ("numpy", "torch")
LOSSES = ("train_loss", "test_loss")
Curve = list[dict[str, float]]


def main() -> None:
    """Run the command."""
    options = _parser().parse_args()
    results: dict[str, dict[str, float]] = {}
    curves: dict[str, Any] = {}
    lacking: dict[str, str] = {}
    for chosen in kernels.SETS:
        command.announce(f"training under {chosen.name}")
        try:
            answer = kernels.run("parity.kernel_process", chosen, {"columns": {}})
        except ParityError as error:
            raise BenchmarkError(str(error)) from error
        if "lacking" in answer:
            lacking[chosen.name] = answer["lacking"]
            continue
        trained = train(chosen, options.seed, options.epochs)
        curves[chosen.name] = {model: trained[model] for model in MODELS}
        results[chosen.name] = {model: difference(*trained[model].values()) for model in MODELS}
    record = {
        "benchmark": "curves",
        "environment": command.environment() | {"versions": command.package_versions()},
        "settings": {"data": "digits", "seed": options.seed, "epochs": options.epochs},
        "lacking": lacking,
        "results": results,
        "curves": curves,
    }
    print(report(record))
    command.save(options, record)


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.curves", description=(__doc__ or "").partition("\n")[0]
    )
    made.add_argument("--seed", type=int, default=7, help="of every run (default: %(default)s)")
    made.add_argument(
        "--epochs", type=command.positive, default=2, help="of every run (default: %(default)s)"
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON")
    return made


def train(chosen: kernels.KernelSet, seed: int, epochs: int) -> dict[str, dict[str, Curve]]:
    """Train every network on either backend and return the losses of each epoch.

    Raises:
        BenchmarkError: if a run fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                sys.executable,
                str(ROOT / "train.py"),
                "--multirun",
                "data=digits",
                "device=cpu",
                f"model={','.join(MODELS)}",
                f"backend={','.join(BACKENDS)}",
                f"backend.threads={chosen.threads}",
                f"seed={seed}",
                f"trainer.epochs={epochs}",
                f"hydra.sweep.dir={folder}/runs",
                "hydra.sweep.subdir=${hydra.job.num}",
            ],
            env=chosen.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["without a word"]
            raise BenchmarkError(f"training under {chosen.name} failed: {last[0]}")
        trained: dict[str, dict[str, Curve]] = {}
        for number, (model, backend) in enumerate(product(MODELS, BACKENDS)):
            path = Path(folder, "runs", str(number), "metrics.csv")
            trained.setdefault(model, {})[backend] = _losses(path)
    return trained


def _losses(path: Path) -> Curve:
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(row[name]) for name in LOSSES} for row in csv.DictReader(file)]


def difference(one: Curve, other: Curve) -> float:
    """Return the largest difference between the losses of two curves."""
    return max(
        abs(mine[name] - theirs[name])
        for mine, theirs in zip(one, other, strict=True)
        for name in LOSSES
    )


def report(record: dict[str, Any]) -> str:
    """Return the largest difference in loss by network and set, as a Markdown table."""
    results, settings = record["results"], record["settings"]
    rows = [[name, *(f"{row[model]:.1e}" for model in MODELS)] for name, row in results.items()]
    if results:
        largest = (max(row[model] for row in results.values()) for model in MODELS)
        rows.append(["largest", *(f"{value:.1e}" for value in largest)])
    lines = [
        command.heading(record["environment"]),
        "",
        f"Largest difference between the backends' training and test losses over "
        f"{settings['epochs']} epochs of {settings['data']}, seed {settings['seed']}:",
        "",
        command.markdown(["kernels", *MODELS], rows),
    ]
    return "\n".join(lines + command.left_out(record["lacking"]))


if __name__ == "__main__":
    command.run("curves", main)
