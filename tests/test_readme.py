"""The README's figures are the records', and its worked example does what it says."""

from __future__ import annotations

import importlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import numpy_models
import torch_models
from benchmarks import report
from benchmarks.harness import Statistics
from parity import assert_parity
from studies.claims import reported
from studies.collection import kept
from studies.groups import once_per_seed, spread
from studies.records import Record, recipe

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"

#: What differs from our recipe in the recipe as printed, and in the reading that gives the claim.
READINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "r0_lenet5_relu": ({"init.linear_std": 1.0}, {}),
    "r1_lenet5_tanh": ({}, {"optimizer.lr": 1e-4}),
    "r2_deepcnn21": ({}, {"model.arguments.hidden": 256}),
    "r3_lenet5_avgpool": ({}, {"optimizer.lr": 3e-5}),
    "r4_lenet5_bn": ({}, {"optimizer.lr": 1e-5}),
}


def table(header: str) -> list[list[str]]:
    """The cells below a table's header, whose beginning is given."""
    _, _, rest = README.read_text(encoding="utf-8").partition(f"\n| {header}")
    _, _, *lines = rest.partition("\n\n")[0].splitlines()
    return [line.strip("| ").split(" | ") for line in lines]


@cache
def records() -> list[Record]:
    return kept(ROOT / "docs" / "results" / "runs")


@cache
def benchmark(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}-amd-epyc.json").read_text())


def prose() -> str:
    return " ".join(README.read_text(encoding="utf-8").split())


def accuracy(experiment: str, changes: dict[str, Any]) -> str:
    runs = once_per_seed(r for r in records() if (r.experiment, r.changes) == (experiment, changes))
    found = spread([run.last_epoch()["test_accuracy"] for run in runs])
    return f"{found.text(percent=True)} (n = {found.count})"


def test_the_claims_are_measured_so() -> None:
    rows = table("report | claimed | measured")
    assert len(rows) == len(READINGS)
    for row, (experiment, (printed, reading)) in zip(rows, READINGS.items(), strict=True):
        run = next(r for r in records() if r.experiment == experiment and not r.changes)
        epochs = recipe(experiment)["trainer.epochs"]
        assert row[0] == f"{experiment[:2].upper()}, {epochs} epochs"
        assert row[1] == f"{100 * (reported(run, 'test_accuracy') or 0):.4g} %"
        assert row[2] == accuracy(experiment, printed)
        assert row[3].rpartition(": ")[2] == accuracy(experiment, reading)


def shares(result: dict[str, Any], name: str, *others: str) -> list[Statistics]:
    return [report.compared(result["seconds"], name, other) for other in others]


def test_the_steps_took_so_long() -> None:
    results = benchmark("step")["results"]
    inference = {
        (r["network"], r["threads"]): [s.median for s in shares(r, "numpy", *report.PEERS)]
        for r in results
        if r["kind"] == "inference"
    }
    expected = []
    for result in (r for r in results if r["kind"] == "step"):
        network, threads = result["network"], result["threads"]
        times = [report.in_milliseconds(result["seconds"][s]["median"]) for s in ("numpy", "torch")]
        ratios = [report.ratio(share) for share in shares(result, "numpy", *report.PEERS)]
        place = [f"`{network}` ({result['batch']})", str(threads)]
        bold = [re.sub(r"^\S+", r"**\g<0>**", ratio) for ratio in ratios]
        inferred = [f"{ratio:.2f}" for ratio in inference[network, threads]]
        expected.append([*place, *times, *bold, *inferred])
    assert table("network (batch) | threads") == expected
    place = report.place(benchmark("step")["environment"])
    assert place.replace("; Python", ". Python") in prose()


def test_the_peers_took_so_long() -> None:
    results = [r for r in benchmark("step")["results"] if "jax" in r["seconds"]]
    assert [r["threads"] for r in results] == [1, 2]
    mygrad, jax = (
        " and ".join(f"{shares(r, peer, 'numpy')[0].median:.3g}" for r in results)
        for peer in ("mygrad", "jax")
    )
    assert (
        f"MyGrad takes {mygrad} times as long as NumPy (1 and 2 threads), JAX's jitted CPU step "
        f"{jax} times."
    ) in prose()


def test_the_peaks_and_limits_are_so() -> None:
    memory = benchmark("run")
    (peaks,) = (r["peaks"] for r in memory["results"] if r["network"] == "lenet5_relu")
    assert (
        f"epoch of `lenet5_relu` peaks at {peaks['numpy']['median']:.0f} MiB of memory, against "
        f"{peaks['torch']['median']:.0f} MiB with torch, {memory['imports']['torch']:.0f} of which"
    ) in prose()
    scaling = benchmark("scaling")
    points = [p for p in scaling["points"] if p["series"] != "batch"]
    slowest = max(shares(p, "numpy", "torch")[0].median for p in points)
    large = [p for p in points if p["series"] == "size" and p["value"] >= 32]
    kept = max(shares(p, "numpy", "torch-kept")[0].median for p in large)
    assert f"of 16 channels alone is up to {slowest:.1f} times slower than torch's" in prose()
    assert f"torch keeping memory is up to {kept:.1f} times faster" in prose()


def example_files() -> dict[str, str]:
    """The README's code blocks whose first line names the file they go into."""
    blocks = re.findall(
        r"```(?:python|yaml)\n# (\S+/tiny\.\w+)\n(.*?)```", README.read_text(), re.S
    )
    return dict(blocks)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    files = example_files()
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for package in (torch_models, numpy_models):
        places = [*package.__path__, str(tmp_path / package.__name__)]
        monkeypatch.setattr(package, "__path__", places)
    importlib.invalidate_caches()
    return files


def test_the_example_is_one_file_a_side_and_one_of_configuration() -> None:
    names = {"torch_models/tiny.py", "numpy_models/tiny.py", "conf/model/tiny.yaml"}
    assert set(example_files()) == names


def test_the_examples_two_sides_agree(tiny: dict[str, str]) -> None:
    settings = yaml.safe_load(tiny["conf/model/tiny.yaml"])
    sides = [
        p.build(settings["name"], **settings["arguments"]) for p in (torch_models, numpy_models)
    ]
    size = settings["image_size"]
    images = np.random.default_rng(0).standard_normal((3, 1, size, size)).astype(np.float32)
    assert_parity(*sides, images)
    assert sides[1](images).shape == (3, 10)
