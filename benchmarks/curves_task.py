"""What `benchmarks.curves` has each process do: train every network on either backend."""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT
from parity.kernel_process import main
from parity.protocol import ParityError

MODELS = sorted(path.stem for path in (ROOT / "conf" / "model").glob("*.yaml"))
BACKENDS = ("numpy", "torch")
LOSSES = ("train_loss", "test_loss")
Curve = list[dict[str, float]]


def train(job: dict[str, Any]) -> dict[str, dict[str, Curve]]:
    """Train every network on either backend and return the losses of each epoch.

    Raises:
        ParityError: if a run fails.
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
                f"backend.threads={job['threads']}",
                f"seed={job['seed']}",
                f"trainer.epochs={job['epochs']}",
                f"hydra.sweep.dir={folder}/runs",
                "hydra.sweep.subdir=${hydra.job.num}",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["without a word"]
            raise ParityError(f"train.py failed: {last[0]}")
        trained: dict[str, dict[str, Curve]] = {}
        for number, (model, backend) in enumerate(product(MODELS, BACKENDS)):
            path = Path(folder, "runs", str(number), "metrics.csv")
            trained.setdefault(model, {})[backend] = _losses(path)
    return trained


def _losses(path: Path) -> Curve:
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(row[name]) for name in LOSSES} for row in csv.DictReader(file)]


if __name__ == "__main__":
    sys.exit(main(train))
