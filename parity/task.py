"""What a pair computes, and the two sides ready to compute it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from parity.protocol import Criterion
from parity.tolerance import Place
from parity.trees import call_of, mapped, named


@dataclass(frozen=True)
class Task:
    """What both sides compute.

    Attributes:
        inputs: an array, or several in a tuple (by position), a dict (by keyword) or a
            `parity.trees.Call`; floating-point ones are of the dtype compared.
        upstream: gradient given to each output, by the output's name (`parity.trees.named`); None
            when a loss gives it, or with forward_only.
        targets: the loss's targets, None without a loss.
        torch_criterion, numpy_criterion: the loss.
        train: training or evaluation mode.
        seed: seed of the dropout masks.
        expect: departures of the NumPy side that are meant (`parity.departures`).
        forward_only: why there is no backward pass; empty if there is one.
        dtype: the dtype compared; that of the inputs, where one of them is floating-point.
        constants: the floating-point inputs, by name, that nobody takes a gradient of.
        format: in which fewer bits the side under test computes (`parity.precision`); empty where
            it computes in the dtype compared.
    """

    inputs: Any
    upstream: Mapping[str, np.ndarray] | None = None
    targets: np.ndarray | None = None
    torch_criterion: Callable[..., Tensor] | None = None
    numpy_criterion: Criterion | None = None
    train: bool = True
    seed: int = 0
    expect: Mapping[str, str] = field(default_factory=dict)
    forward_only: str = ""
    dtype: Any = np.float32
    constants: frozenset[str] = frozenset()
    format: str = ""

    def __post_init__(self) -> None:
        dtypes = [array.dtype for array in self.arrays.values() if array.dtype.kind == "f"]
        object.__setattr__(self, "dtype", dtypes[0] if dtypes else np.dtype(self.dtype))

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The inputs that are arrays, by name; one alone is named ""."""
        return named(call_of(self.inputs), np.ndarray)

    @property
    def precision(self) -> torch.dtype:
        """The dtype compared, as torch names it."""
        return torch.from_numpy(np.empty(0, self.dtype)).dtype

    def with_arrays(
        self,
        change: Callable[[str, np.ndarray], np.ndarray],
        back: Callable[[np.ndarray], np.ndarray] = lambda dy: dy,
    ) -> Task:
        """Return the task with change(name, array) for each input, back(dy) for each gradient."""
        inputs = mapped(change, call_of(self.inputs), np.ndarray)
        upstream = self.upstream and {name: back(dy) for name, dy in self.upstream.items()}
        return replace(self, inputs=inputs, upstream=upstream)


@dataclass(frozen=True)
class Setting:
    """Both sides of a pair, or of one of its layers, ready to run.

    Attributes:
        name: what messages call it.
        module: the torch side, a copy in the task's dtype and mode.
        network: the NumPy side.
        task: what both compute, with the upstream gradient where no loss gives one.
        layers: NumPy layer by torch's name, None to look for them in the network.
        layer: the layer's name, or "loss"; empty for a whole pair.
        vary: whether the pair is also held on variations of its inputs (`parity.variation`).
        ask: what to ask for torch's results instead of `parity.references.references`.
    """

    name: str
    module: nn.Module
    network: Any
    task: Task
    layers: Mapping[str, Any] | None = None
    layer: str = ""
    vary: bool = False
    ask: Callable[[nn.Module, Task], Any] | None = field(default=None, repr=False)


def place_of(name: str, prefix: str = "") -> Place:
    """Return a parameter's or buffer's place by its name."""
    layer, _, tensor = name.rpartition(".")
    return layer, prefix + tensor
