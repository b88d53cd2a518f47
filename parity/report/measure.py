"""Measure networks: every tensor, every layer alone and a training, in both dtypes and modes."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from parity import networks
from parity.assertions import assert_agreement
from parity.comparison import Comparison, LayerProbe, hold
from parity.localisation import probes
from parity.networks import NetworkCase, batches, optimizer_of, recipe
from parity.pair import Pair
from parity.protocol import DisagreementError, ParityError
from parity.tolerance import TensorCheck
from parity.trajectory import Trajectory, assert_trajectory
from training.environment import available_cores, blas, processor, versions

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Run:
    """The whole network in one dtype and mode, each layer alone, and what is wrong in words."""

    whole: Comparison
    layers: list[LayerProbe]
    verdict: str = ""
    culprits: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The run in words."""
        return f"{self.whole.dtype}, {'training' if self.whole.train else 'evaluation'}"

    @property
    def closest(self) -> tuple[str, TensorCheck]:
        """The tensor, of a layer alone or not, that uses most of its budget; or a failure."""
        named = [(", ".join(filter(None, [c.layer, c.tensor])), c) for c in self.whole.checks]
        for probe in self.layers:
            named += [(f"{probe.layer} alone, {c.tensor}", c) for c in probe.comparison.checks]
        return max(named, key=lambda named: named[1].rank)


@dataclass(frozen=True)
class Training:
    """Both sides trained on the same batches, up to the first step that disagrees.

    `losses` are the verdicts on each step's loss, `worst` those on the tensor of each step that
    uses most of its envelope; `optimizer` and `verdict` are in words.
    """

    dtype: str
    optimizer: str
    losses: list[TensorCheck]
    worst: list[TensorCheck]
    verdict: str = ""
    culprits: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Network:
    """Everything measured of one network: its class, its number of parameters, every run.

    `problem` says why it could not be measured, `reproduction` names the file that shows its
    failure again; either may be empty.
    """

    name: str
    seconds: float
    kind: str = ""
    parameters: int = 0
    runs: list[Run] = field(default_factory=list)
    trainings: list[Training] = field(default_factory=list)
    problem: str = ""
    reproduction: str = ""

    @property
    def failures(self) -> list[Run | Training]:
        """The runs and trainings that disagree."""
        parts: list[Run | Training] = [*self.runs, *self.trainings]
        return [part for part in parts if part.verdict]

    @property
    def passed(self) -> bool:
        """Whether every run and every training agrees."""
        return not self.verdict

    @property
    def culprit(self) -> str:
        """The name of what is wrong by itself; empty if that is nothing, or unknown."""
        return next((name for part in self.failures for name in part.culprits), "")

    @property
    def verdict(self) -> str:
        """The disagreement in words; empty if both sides agree."""
        return self.problem or next((part.verdict for part in self.failures), "")

    @property
    def closest(self) -> tuple[Run, str, TensorCheck] | None:
        """The run, the tensor and its verdict that use most of a budget, layers alone included."""
        found = ((run, *run.closest) for run in self.runs)
        return max(found, key=lambda each: each[2].rank, default=None)


@dataclass(frozen=True)
class Report:
    """The networks measured, and where and when: UTC in ISO 8601, facts by what they are called."""

    date: str
    seconds: float
    environment: dict[str, str]
    networks: list[Network]


def measure(case: NetworkCase, factory: Callable[..., Pair] = networks.pair) -> Network:
    """Measure one network; a pair that cannot be made or compared is a finding too."""
    start, runs, trainings = time.perf_counter(), list[Run](), list[Training]()

    def made(dtype: str) -> Pair:
        try:
            return factory(**arguments_of(case, dtype))
        except Exception as error:
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            raise ParityError(f"{case} cannot be built on both sides: {kind}{error}") from error

    try:
        module = made(DTYPES[0]).torch_module
        runs += [_run(made(dtype), train) for dtype in DTYPES for train in (True, False)]
        trainings += [_training(case, made(dtype), dtype) for dtype in DTYPES]
    except ParityError as error:
        return Network(str(case), time.perf_counter() - start, problem=str(error))
    trained = sum(p.numel() for p in module.parameters())
    seconds = time.perf_counter() - start
    return Network(str(case), seconds, type(module).__name__, trained, runs, trainings)


def arguments_of(case: NetworkCase, dtype: str) -> dict[str, Any]:
    """Return the arguments with which `parity.networks.pair` makes a case, fit for JSON."""
    return {"name": case.name, "dtype": dtype, **case.arguments}


def environment() -> dict[str, str]:
    """Return versions, processor and matrix libraries of this process."""
    numpy_blas = blas()
    return {
        **versions("torch"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": processor(),
        "cores available": str(available_cores()),
        "NumPy's BLAS": f"{numpy_blas.get('library')}, {numpy_blas.get('kernels')} kernels",
        "torch's BLAS": "MKL" if torch.backends.mkl.is_available() else "built in, without MKL",
        "threads used": str(torch.get_num_threads()),
    }


def _run(pair: Pair, train: bool) -> Run:
    """Measure the whole network and each layer alone."""
    setting = pair.setting(train)
    run = Run(hold(setting), probes(setting))
    names = [probe.layer for probe in run.layers if not probe.comparison.passed]
    if run.whole.passed and not names:
        return run
    try:
        assert_agreement(setting)
    except DisagreementError as error:
        return replace(run, verdict=_culprit_lines(error), culprits=error.culprits)
    verdict = f"culprit: {', '.join(names)}, wrong alone though the network agrees"
    return replace(run, verdict=verdict, culprits=names)


def _culprit_lines(error: DisagreementError) -> str:
    lines = str(error).splitlines()
    return "\n".join(line for line in lines if line.startswith("culprit"))


def _training(case: NetworkCase, pair: Pair, dtype: str) -> Training:
    name, options = optimizer_of(case)
    sides = pair.torch_module, pair.numpy_network
    words = f"{name} ({', '.join(f'{key} {value}' for key, value in options.items())})"
    try:
        found = assert_trajectory(*sides, batches(case.input, dtype), recipe(name, options))
    except DisagreementError as error:
        steps = _steps(error.finding)
        return Training(dtype, words, *steps, _culprit_lines(error), error.culprits)
    except Exception as error:  # a layer that raises is a finding too, and is recorded as one
        return Training(dtype, words, [], [], f"stopped by {type(error).__name__}: {error}")
    return Training(dtype, words, *_steps(found))


def _steps(trajectory: Trajectory) -> tuple[list[TensorCheck], list[TensorCheck]]:
    losses = [check for step in trajectory.steps for check in step if check.tensor == "loss"]
    return losses, [max(step, key=lambda check: check.rank) for step in trajectory.steps]
