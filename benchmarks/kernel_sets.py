"""Measuring under every set of kernels, in a process of its own each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import command
from benchmarks.harness import BenchmarkError
from parity import kernels
from parity.protocol import ParityError


def measure(
    content: dict[str, Any], work: str, jobs: Sequence[Any], told: Callable[[Any], str]
) -> None:
    """Call a function under every set of kernels; fill in results and lacking.

    Args:
        content: takes by the set's name what the function returns, or why the set cannot be had.
        work: "module:function", from and to JSON values.
        jobs: one for each set; the function also finds the set's number of threads in it.
        told: puts an answer in a few words.

    Raises:
        BenchmarkError: if a process cannot do its job.
    """
    content |= {"lacking": {}, "results": {}}
    try:
        pairs = list(zip(kernels.SETS, jobs, strict=True))
        for chosen, answer in kernels.run_each(work, pairs):
            if "lacking" in answer:
                content["lacking"][chosen.name] = answer["lacking"]
            else:
                content["results"][chosen.name] = answer
                command.announce(f"{chosen.name}: {told(answer)}")
    except ParityError as error:
        raise BenchmarkError(str(error)) from error
