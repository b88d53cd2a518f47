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
    """Do each set's job by "module:function"; told(answer) is the answer in a few words.

    By the sets' names, the answers go to content["results"], and to content["lacking"] why there
    is none.

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
