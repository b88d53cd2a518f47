from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from itertools import chain, repeat

import pytest

from benchmarks import epoch, harness, run, scaling, step
from benchmarks.epoch import R1, STOCK, loops
from benchmarks.harness import ROOT, BenchmarkError, start_workers
from tests import forked

pytestmark = pytest.mark.usefixtures("forked_workers")  # test_harness.py starts real ones


@pytest.fixture
def command_line(monkeypatch, tmp_path):
    """Run a command's main with few images; return its JSON's content."""

    def few(stack, implementations, threads, absent=None, **arguments):
        size = {"images": 300, "test_images": 100} if "network" in arguments else {}
        return start_workers(stack, implementations, threads, absent, **arguments, **size)

    def run(module, line):
        written = tmp_path / "result.json"
        if hasattr(module, "start_workers"):
            monkeypatch.setattr(module, "start_workers", few)
        monkeypatch.setattr(sys, "argv", ["benchmark", *line.split(), "--json", str(written)])
        module.main()
        return json.loads(written.read_text())

    return run


def test_step_command(command_line, monkeypatch, capsys):
    """Without a compiler the others are measured."""
    # torch learns of its compiler as it is imported: the last worker is a new process.
    kinds = chain(repeat(forked.ForkedWorker, len(step.TWINS)), [subprocess.Popen])
    monkeypatch.setattr(harness.subprocess, "Popen", lambda *a, **k: next(kinds)(*a, **k))
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("PATH", "")
    line = "--rounds 2 --seconds 0.001 --threads 1 --networks lenet5_avgpool --peers --compiled"
    content = command_line(step, line)
    shown = capsys.readouterr().out
    assert "| `lenet5_avgpool` (64) | 1 " in shown
    assert "torch-compiled: " in shown
    assert "needs a C++ compiler" in content["not_measured"]["torch-compiled"]
    measured, inference = content["results"]
    assert (measured["kind"], inference["kind"]) == ("step", "inference")
    assert {name: len(s["values"]) for name, s in measured["seconds"].items()} == dict.fromkeys(
        ("numpy", "torch", "torch-kept"), 2
    )
    assert 0 <= content["loss_checks"][0]["share_of_tolerance"]["numpy"] <= 1


def test_no_times_where_losses_differ(command_line, monkeypatch, capsys):
    faulty = replace(step.NUMPY, target="tests.benchmarks.faulty:FaultyStep")
    monkeypatch.setattr(step, "TWINS", (faulty, step.TORCH))
    with pytest.raises(BenchmarkError, match="numpy, lenet5_avgpool, 1 thread: the loss at"):
        command_line(step, "--rounds 1 --threads 1 --networks lenet5_avgpool --peers")
    assert capsys.readouterr().out == ""


def test_scaling_command(command_line, monkeypatch, capsys):
    monkeypatch.setattr(scaling, "TWINS", (step.NUMPY, step.TORCH))
    line = "--rounds 1 --seconds 0.001 --workers 2 --batch 8"
    content = command_line(scaling, line)
    assert "| processes or threads |" in capsys.readouterr().out
    assert [(point["series"], point["value"]) for point in content["points"]] == [
        ("workers", 2),
        ("batch", 8),
    ]


def test_peak_memory_is_that_of_the_process_and_its_children():
    # Not from this process: a child's peak starts at its parent's, and tests are large.
    code = (
        "import sys; from benchmarks.run import watch; assert 'numpy' not in sys.modules; "
        "large = 'b\"x\" * (100 * 2**20)'; hold = f'import time; x = {large}; time.sleep(1.5)'; "
        "child = f'import subprocess, sys; y = {large}; '"
        "'subprocess.run([sys.executable, \"-c\", ' + repr(hold) + '])'; "
        "print(*(watch(['-c', code]).peak for code in ('pass', large, child)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    small, large, both = map(float, done.stdout.split())
    assert small < 50
    assert 100 < large < 100 + small
    if sys.platform == "linux":
        assert 200 < both < 200 + 2 * small


def test_an_epoch_lasts_from_one_line_to_the_next():
    code = "import time\nfor n in (1, 2, 3): print(f'epoch {n}'); time.sleep(0.2)\nprint('end')"
    assert run.watch(["-c", code]).seconds >= 0.2


def test_a_failed_run_gives_no_peak():
    with pytest.raises(BenchmarkError, match="-c failed: no data"):
        run.watch(["-c", "raise SystemExit('no data')"])


def test_run_command(command_line, monkeypatch, capsys):
    asked, original = [], cache(run.train)

    def train(network, side, *others):  # with torch the same takes three times as long
        asked.append(side)
        return original(network, "numpy", *others)

    monkeypatch.setattr(run, "train", train)
    content = command_line(run, "--rounds 1 --epochs 2 --networks lenet5_avgpool")
    (result,) = content["results"]
    assert result["batch"] == 64
    assert asked == ["numpy", "torch"]
    assert all(result["seconds"][side]["median"] > 0 for side in asked)
    assert all(result["peaks"][side]["median"] > 0 for side in asked)
    assert "| imports alone " in capsys.readouterr().out


def test_epoch_command(command_line, monkeypatch, capsys):
    monkeypatch.setattr(
        epoch, "LOOPS", {"cpu": {"eager": [epoch.EAGER]}, "cuda": epoch.LOOPS["cuda"]}
    )
    line = "--rounds 1 --threads 1 --images 300 --recipe r0_lenet5_relu --device cpu"
    content = command_line(epoch, line)
    assert [result["line"] for result in content["results"]] == ["eager", "NumPy"]
    assert content["not_measured"] == {}
    assert list(content["parity"]) == ["float32 (cpu)", "bf16 (cpu)"]
    assert "| eager (cpu) " in capsys.readouterr().out


def test_epoch_loops_train_the_same():
    from benchmarks.project_tasks import ProjectEpoch
    from benchmarks.stock_loop import StockLoop

    loops = {
        "stock loop (cpu)": StockLoop(threads=1, images=300),
        "eager (cpu)": ProjectEpoch(threads=1, images=300, backend="torch", recipe=R1),
        "NumPy (cpu)": ProjectEpoch(threads=1, images=300, backend="numpy", recipe=R1),
    }
    for loop in loops.values():
        loop.run("epoch", 1)
        assert loop.outcome()["start_up"] > 0
    losses = {name: loop.outcome()["mean_loss"] for name, loop in loops.items()}
    assert epoch.deviations(losses) == {}
    assert losses["eager (cpu)"] == pytest.approx(losses["NumPy (cpu)"], rel=1e-5)
    losses["NumPy (cpu)"] *= 1.05
    assert list(epoch.deviations(losses)) == ["NumPy (cpu)"]


def test_a_loop_that_fails_does_not_take_the_others_along():
    stock, _, eager, *_ = loops(R1, "cpu")
    wrong = {**eager.arguments, "settings": ["backend.mode=none"]}
    broken = replace(eager, arguments=wrong)
    absent: dict[str, str] = {}
    results = epoch.measure([stock, broken], 1, 1, 200, absent)
    assert [(result["line"], result["device"]) for result in results] == [(STOCK, "cpu")]
    assert "backend.mode" in absent["eager (cpu)"]


def test_only_r1_has_the_stock_loop():
    assert [loop.name for loop in loops(R1, "cpu")][1] == f"{STOCK}, 2 loader processes (cpu)"
    assert next(loop.name for loop in loops("r0_lenet5_relu", "cuda")) == "eager (cuda)"


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
