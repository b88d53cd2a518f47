from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import pytest

from benchmarks.command import versions
from benchmarks.harness import (
    BenchmarkError,
    Implementation,
    Worker,
    interleaved,
    measure,
    start_workers,
)
from benchmarks.project_tasks import ProjectStep
from benchmarks.step import NUMPY

SMALL = {"network": "lenet5_avgpool", "batch": 4, "images": 8, "test_images": 2}
ONE = Implementation("one", NUMPY.target, "numpy", arguments=SMALL)


def test_rounds_start_one_further_along_each_time():
    calls: list[str] = []
    results = interleaved({name: partial(calls.append, name) for name in "abc"}, 4)
    assert "".join(calls) == "abcbcacababc"
    assert {name: len(values) for name, values in results.items()} == {"a": 4, "b": 4, "c": 4}


def test_a_worker_is_set_up_before_numpy_loads_and_answers_calls():
    with Worker(ONE, threads=1) as worker:
        description = worker.call("describe")
        seconds = measure({"one": worker}, "step", rounds=3, seconds=0.001)["one"]
    assert description["blas"]["OPENBLAS_NUM_THREADS"] == "1"  # set only while NumPy is not loaded
    assert description["threads"] == 1
    assert len(seconds) == 3
    assert all(0 < value < 1 for value in seconds)


def test_a_worker_survives_a_failed_call_and_names_what_failed(capfd):
    with Worker(ONE, threads=1) as worker:
        with pytest.raises(BenchmarkError, match=r"one: AttributeError: .*'missing'"):
            worker.call("missing")
        assert worker.call("describe")["threads"] == 1


def test_several_processes_compute_the_same_training():
    small = {"network": "lenet5_bn", "batch": 16, "images": 64, "test_images": 10}
    alone = ProjectStep(threads=1, **small).losses(steps=3)
    with Worker(NUMPY, threads=2, **small) as worker:
        assert worker.call("describe")["processes"] == 2
        assert worker.call("losses", steps=3) == pytest.approx(alone, rel=1e-3)
        assert worker.call("seconds", kind="step", count=2) > 0
        with pytest.raises(BenchmarkError, match=r"numpy: AttributeError: .*'missing'"):
            worker.call("missing")


def test_an_optional_one_that_does_not_start_is_left_out():
    broken = replace(ONE, name="broken", arguments={**SMALL, "colour": "red"}, optional=True)
    absent: dict[str, str] = {}
    with ExitStack() as stack:
        assert list(start_workers(stack, [ONE, broken], 1, absent)) == ["one"]
        assert "unexpected keyword argument 'colour'" in absent["broken"]
        with pytest.raises(BenchmarkError, match="colour"):
            start_workers(stack, [replace(broken, optional=False)], 1, absent)


def test_a_library_that_is_absent_is_named():
    absent = Implementation("ghost", "no_such_library_here:Step", "no_such_library_here")
    assert not absent.installed
    assert versions("no_such_library_here") == {"no_such_library_here": "absent"}
    with pytest.raises(BenchmarkError, match="ghost: ModuleNotFoundError"):
        Worker(absent, threads=1)


def test_a_worker_that_dies_is_reported():
    with Worker(ONE, threads=1) as worker:
        worker._process.kill()
        with pytest.raises(BenchmarkError, match="one: its process ended with status -9"):
            worker.call("describe")
