"""Measuring under every set of kernels, in a process of its own each.

`measure` is the command's side; run as a module, this is the process of one set.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from benchmarks import command
from benchmarks.harness import BenchmarkError
from parity import kernels
from parity.kernel_process import main
from parity.protocol import ParityError


def measure(
    content: dict[str, Any], module: str, jobs: Sequence[Any], told: Callable[[Any], str]
) -> None:
    """Have a module's `work(job)` called under every set of kernels; fill in results and lacking.

    Args:
        content: takes by the set's name what `work` returns, or why the set cannot be had.
        module: that has `work`, a function from and to JSON values.
        jobs: one for each set; `work` also finds the set's number of threads in it.
        told: puts an answer in a few words.

    Raises:
        BenchmarkError: if a process cannot do its job.
    """
    content |= {"lacking": {}, "results": {}}
    pairs = [
        (chosen, {**job, "module": module}) for chosen, job in zip(kernels.SETS, jobs, strict=True)
    ]
    try:
        for chosen, answer in kernels.run_each("benchmarks.kernel_sets", pairs):
            if "lacking" in answer:
                content["lacking"][chosen.name] = answer["lacking"]
            else:
                content["results"][chosen.name] = answer
                command.announce(f"{chosen.name}: {told(answer)}")
    except ParityError as error:
        raise BenchmarkError(str(error)) from error


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Do a job in the module that it names."""
    return import_module(job["module"]).work(job)


if __name__ == "__main__":
    sys.exit(main(work))
