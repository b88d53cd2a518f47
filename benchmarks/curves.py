"""How closely both backends' training curves agree, same seed, under every set of kernels.

Rounding differs between the backends and grows as they train; how far depends on the network and
on whose kernels compute. Each network trains for a few epochs on the digits that scikit-learn
bundles, on either backend, through `train.py` as a user would, in processes of their own.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks import command, kernel_sets
from benchmarks.harness import ROOT
from parity import kernels
from parity.protocol import ParityError

MODELS = sorted(path.stem for path in (ROOT / "conf" / "model").glob("*.yaml"))
BACKENDS = ("numpy", "torch")
LOSSES = ("train_loss", "test_loss")
Curve = list[dict[str, float]]


def main() -> None:
    """Run the command."""
    parser = command.parser("curves", __doc__)
    parser.add_argument("--seed", type=int, default=7, help="of every run (default: %(default)s)")
    parser.add_argument(
        "--epochs", type=command.positive, default=2, help="of every run (default: %(default)s)"
    )
    options = parser.parse_args()
    job = {"seed": options.seed, "epochs": options.epochs}
    with command.measurement("curves", options, "torch", "numpy", data="digits", **job) as content:
        kernel_sets.measure(
            content,
            "benchmarks.curves:work",
            [job] * len(kernels.SETS),
            lambda curves: f"{max(differences(curves).values()):.1e} at most",
        )
        content["curves"] = content["results"]
        content["results"] = {k: differences(v) for k, v in content["curves"].items()}


def differences(curves: dict[str, dict[str, Curve]]) -> dict[str, float]:
    """Return for each network the largest difference between its backends' losses."""
    return {
        model: max(
            abs(mine[name] - theirs[name])
            for mine, theirs in zip(*sides.values(), strict=True)
            for name in mine
        )
        for model, sides in curves.items()
    }


def work(job: dict[str, Any]) -> dict[str, dict[str, Curve]]:
    """Train every network on either backend and return the losses of each epoch.

    Raises:
        ParityError: if a run fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "data": "digits",
            "device": "cpu",
            "model": ",".join(MODELS),
            "backend": ",".join(BACKENDS),
            "backend.threads": job["threads"],
            "seed": job["seed"],
            "trainer.epochs": job["epochs"],
            "hydra.sweep.dir": f"{folder}/runs",
            "hydra.sweep.subdir": "${hydra.job.num}",
        }
        words = [f"{name}={value}" for name, value in settings.items()]
        program = [sys.executable, str(ROOT / "train.py"), "--multirun"]
        done = subprocess.run([*program, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["without a word"]
            raise ParityError(f"train.py failed: {last[0]}")
        trained: dict[str, dict[str, Curve]] = {}
        for number, (model, backend) in enumerate(product(MODELS, BACKENDS)):
            with Path(folder, "runs", str(number), "metrics.csv").open(newline="") as file:
                rows = [{name: float(row[name]) for name in LOSSES} for row in csv.DictReader(file)]
            trained.setdefault(model, {})[backend] = rows
    return trained


if __name__ == "__main__":
    command.run("curves", main)
