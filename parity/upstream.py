"""The gradient that a pair's outputs are given where no loss gives one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor, nn

from parity.protocol import ParityError
from parity.runs import array_of, clone, run_forward
from parity.task import Task
from parity.trees import named


def with_upstream(module: nn.Module, task: Task) -> Task:
    """Return the task with a random normal upstream gradient where no loss gives one.

    Raises:
        ParityError: if the module cannot be run, gives no gradient, or draws random numbers that
            are not shared.
    """
    grad = not task.forward_only
    kind = type(module).__name__
    copies = [clone(module, task.precision, task.train) for _ in range(2)]
    first, again = (named(run_forward(each, task, task.precision, grad), Tensor) for each in copies)
    numbers = [(array_of(leaf), array_of(again[name])) for name, leaf in first.items()]
    if not all(np.array_equal(*pair, equal_nan=True) for pair in numbers):
        raise ParityError(
            f"torch's {kind} gives another output each time it is run on the same inputs, so it "
            "draws random numbers of its own: use dropout layers or torch.nn.functional.dropout, "
            "whose masks are shared, or compare in evaluation mode (train=False)"
        )
    outputs = {name: leaf for name, leaf in first.items() if leaf.requires_grad}
    if grad and not outputs:
        raise ParityError(
            f"torch's {kind} gives an output without a gradient: parity needs one that depends on "
            "the input and is not detached"
        )
    if task.torch_criterion is not None or not grad:
        return task
    generator = np.random.default_rng((task.seed, 1))
    drawn = {name: generator.standard_normal(leaf.shape) for name, leaf in outputs.items()}
    upstream = {name: np.asarray(values, task.dtype) for name, values in drawn.items()}
    return replace(task, upstream=upstream)
