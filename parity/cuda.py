"""The same proof with torch on a CUDA device, TF32 off and on.

Three computations are compared with the float64 reference on the CPU: NumPy's and torch's in
float32 on the CPU, by `parity.tolerance`'s rule, and torch's on the device, by the same rule with a
floor of its own: without TF32 NumPy's, with TF32 that of `parity.precision`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from parity.assertions import examine
from parity.comparison import Comparison, judged_again
from parity.pair import Pair
from parity.precision import granted
from parity.protocol import DisagreementError, ParityError
from parity.references import references
from parity.runs import run_torch
from parity.task import Task
from parity.tolerance import Tensors, judge


def assert_parity_on_device(
    *pair: Any, device: str = "cuda", tf32: bool = False, **options: Any
) -> list[Comparison]:
    """Compare NumPy with torch, then torch on a device with both; return both comparisons.

    Args:
        pair: as in `parity.compare`, with float32 inputs.
        device: where torch runs; "cpu" compares torch with itself.
        tf32: let convolutions and matrix products round their operands to TF32.
        options: as in `parity.compare`.

    Raises:
        DisagreementError: if one comparison fails.
        ParityError: if there is no such device, or the inputs are not float32.
    """
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise ParityError("this torch sees no CUDA device: use device='cpu'")
    setting = Pair.of(*pair, **options).setting()
    if setting.task.dtype != np.float32:
        raise ParityError(
            f"a device is compared in float32, and the inputs are {setting.task.dtype}"
        )
    ours = examine(setting)
    with tensor_cores(tf32):
        theirs = run_torch(setting.module, setting.task, torch.float32, device=device)
    title = f"{ours.network} on {device}{' with TF32' if tf32 else ''}"
    task = replace(setting.task, format="tf32" if tf32 else "")
    comparisons = [ours, judge_device(title, setting.module, task, theirs)]
    for comparison in comparisons:
        if not comparison.passed:
            raise DisagreementError(f"culprit: {comparison.network}\n{comparison}", [], comparison)
    return comparisons


def judge_device(name: str, module: nn.Module, task: Task, tensors: Tensors) -> Comparison:
    """Judge what a device computed; the module has the task's dtype and mode."""
    given = granted(references(module, task))
    checks = [
        judge(name, *place, value, given.own[place], given.exact[place], given.budgets[place])
        for place, value in tensors.items()
    ]
    comparison = Comparison(name, task.dtype.name, task.train, checks)
    return judged_again(comparison, given)


@contextmanager
def tensor_cores(tf32: bool) -> Iterator[None]:
    """Allow TF32 in convolutions and matrix products, or forbid it."""
    settings: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn]
    before = [setting.allow_tf32 for setting in settings]
    for setting in settings:
        setting.allow_tf32 = tf32
    try:
        yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.allow_tf32 = value
