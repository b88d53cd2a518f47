from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace

import pytest

from benchmarks import epoch, memory, scaling, step
from benchmarks.cases import CASES
from benchmarks.epoch_lines import PROJECT, STOCK, STOCK_LOOP, Line
from benchmarks.harness import ROOT, BenchmarkError, Statistics, ratios, start_workers


def result(kind: str, **seconds: list[float]) -> step.Result:
    summaries = {name: Statistics.of(values) for name, values in seconds.items()}
    found = {f"numpy/{n}": ratios(seconds["numpy"], seconds[n]) for n in ("torch", "torch-kept")}
    if "jax" in seconds:
        found["jax/numpy"] = ratios(seconds["jax"], seconds["numpy"])
    return step.Result(kind, "lenet5_relu", 256, 2, summaries, found)


RESULTS = [
    result(
        "step",
        **{"numpy": [0.008, 0.010], "torch": [0.010, 0.010], "torch-kept": [0.008, 0.008]},
        jax=[0.040, 0.040],
    ),
    result("inference", **{"numpy": [0.05], "torch": [0.1], "torch-kept": [0.1]}),
]


def test_step_report():
    lines = step.report(RESULTS, absent=["mygrad"]).splitlines()
    row = next(line for line in lines if line.startswith("lenet5_relu (256)"))
    assert row.split() == [
        *("lenet5_relu", "(256)", "2", "9.00", "(8.50–9.50)", "10.0", "(10.0–10.0)"),
        *("8.00", "(8.00–8.00)", "0.90", "(0.80–1.00)", "1.12", "(1.00–1.25)"),
    ]
    assert any(line.split()[:5] == ["jax", "2", "40.0", "(40.0–40.0)", "4.50"] for line in lines)
    assert "not measured: mygrad" in lines[-1]


def test_step_picture(tmp_path):
    from benchmarks.command import environment
    from benchmarks.pictures import draw_steps

    path = tmp_path / "step.png"
    draw_steps(RESULTS, environment() | {"versions": {"numpy": "2"}}, path)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def command_line(monkeypatch, tmp_path):
    """Run a command's main with few images and files to write; return its JSON's content."""

    def few(stack, implementations, threads, **arguments):
        size = {"images": 300, "test_images": 100} if "network" in arguments else {}
        return start_workers(stack, implementations, threads, **arguments, **size)

    def run(module, line):
        written = tmp_path / "result.json", tmp_path / "result.png"
        files = ["--json", str(written[0]), "--picture", str(written[1])]
        monkeypatch.setattr(module, "start_workers", few)
        monkeypatch.setattr(sys, "argv", ["benchmark", *line.split(), *files])
        module.main()
        assert written[1].read_bytes().startswith(b"\x89PNG")
        return json.loads(written[0].read_text())

    return run


def test_step_command(command_line, capsys):
    content = command_line(
        step, "--rounds 2 --seconds 0.001 --threads 1 --networks lenet5_avgpool --peers"
    )
    assert "lenet5_avgpool (64)" in capsys.readouterr().out
    measured, inference = content["results"]
    assert (measured["kind"], inference["kind"]) == ("step", "inference")
    times = {name: sample["values"] for name, sample in measured["seconds"].items()}
    assert measured["ratios"]["numpy/torch"]["values"] == [
        ours / theirs for ours, theirs in zip(times["numpy"], times["torch"], strict=True)
    ]
    assert 0 <= content["loss_checks"][0]["share_of_tolerance"]["numpy"] <= 1


def test_no_times_where_losses_differ(command_line, monkeypatch, capsys):
    faulty = replace(step.NUMPY, target="tests.benchmarks.faulty:FaultyStep")
    monkeypatch.setattr(step, "TWINS", (faulty, step.TORCH))
    with pytest.raises(BenchmarkError, match="numpy, lenet5_avgpool, 1 thread: the loss at"):
        command_line(step, "--rounds 1 --threads 1 --networks lenet5_avgpool --peers")
    assert capsys.readouterr().out == ""


def test_scaling_command(command_line, monkeypatch, capsys):
    monkeypatch.setattr(scaling, "PRODUCTS", scaling.PRODUCTS[:1])  # one library starts faster
    line = "--rounds 1 --seconds 0.001 --threads 1 --product 64 --batches 8 --channels 16"
    content = command_line(scaling, f"{line} --sizes 16")
    assert "Training step of lenet5_relu, threads: 1" in capsys.readouterr().out
    points = content["points"]
    assert [point["series"] for point in points] == ["channels", "size", "batch"]
    # 16 channels of 16×16 images are the same measurement in both series.
    assert points[0]["seconds"] == points[1]["seconds"]
    # 6·N·C²·k²·H·W for batch 64, 16 channels, 3×3 and 16×16 images
    assert content["points"][0]["operations"] == 6 * 64 * 16**2 * 3**2 * 16**2


def test_peak_memory_is_the_childs_own():
    # Not from this process: a child's peak starts at its parent's, and tests are large.
    code = (
        "import sys; from benchmarks.memory import peak; assert 'numpy' not in sys.modules; "
        "print(peak(['-c', 'pass']), peak(['-c', 'b\"x\" * (100 * 2**20)']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    small, large = map(float, done.stdout.split())
    assert small < 50
    assert 100 < large < 100 + small


def test_a_failed_run_gives_no_peak():
    with pytest.raises(BenchmarkError, match="-c failed: no data"):
        memory.peak(["-c", "raise SystemExit('no data')"])


def test_memory_trains_with_the_reports_batches():
    assert {name: case.batch for name, case in CASES.items()} == memory.BATCHES


def test_epoch_loops_train_the_same():

    from benchmarks.epoch_tasks import ProjectLoop
    from benchmarks.stock_loop import StockLoop

    loops = {
        "stock loop (cpu)": StockLoop(threads=1, images=300),
        "resident, eager (cpu)": ProjectLoop(threads=1, images=300, backend="torch"),
        "resident, NumPy (cpu)": ProjectLoop(threads=1, images=300, backend="numpy"),
    }
    for loop in loops.values():
        assert loop.start_up() > 0
        loop.run("epoch", 1)
    losses = {name: loop.mean_loss() for name, loop in loops.items()}
    assert epoch.deviations(losses) == {}
    assert losses["resident, eager (cpu)"] == pytest.approx(
        losses["resident, NumPy (cpu)"], rel=1e-5
    )
    losses["resident, NumPy (cpu)"] *= 1.05
    assert list(epoch.deviations(losses)) == ["resident, NumPy (cpu)"]


def test_a_line_that_fails_does_not_take_the_others_along():
    broken = Line("broken", "cpu", PROJECT, {"backend": "torch", "options": {"mode": "none"}})
    chosen = [Line(STOCK, "cpu", STOCK_LOOP), broken]
    options = Namespace(rounds=1, threads=1, images=200)
    results, unmeasured, failed = epoch.measure(chosen, options)
    assert [result.line for result in results] == [STOCK]
    assert "backend.mode must be one of" in unmeasured["broken (cpu)"]
    assert failed == ["broken (cpu)"]


def test_every_epoch_line_is_measured_or_explained():
    import torch

    reasons = {line.key: epoch.obstacle(line) for line in epoch.lines(loaders=2)}
    assert all(reason is None for key, reason in reasons.items() if key.endswith("(cpu)"))
    if not torch.cuda.is_available():
        cuda = {reason for key, reason in reasons.items() if key.endswith("(cuda)")}
        assert cuda == {"not measured here: no CUDA device"}


@pytest.mark.parametrize("words", ["step --networks", "soak --steps 1 --model"])
def test_a_wrong_network_is_refused(words):
    name, *options = words.split()
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *options, "lenet6"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "invalid choice: 'lenet6'" in done.stderr
    assert "Traceback" not in done.stderr
