"""What parity says of torch in a reduced precision, beside the time that it saves."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

import numpy_models
import torch_models
from benchmarks.cases import CASES
from benchmarks.task import SEED, make_data
from parity import cuda
from parity.comparison import Comparison
from parity.runs import clone, run_torch
from parity.task import Task


def compare(network: str, precision: str, device: str) -> Comparison:
    """Judge a training step in "float32", "tf32" (on CUDA) or "bf16" by the rule for float32.

    The verdict is on logits, loss and every gradient; the batch is the benchmarks' own.
    """
    size, side = CASES[network]
    images, labels = make_data(side, size, SEED)
    inputs = (images[:, None] / 255).astype("float32")
    torch.manual_seed(SEED)
    module = clone(torch_models.build(network), torch.float32, True)
    task = Task(
        inputs, None, labels, nn.CrossEntropyLoss(), numpy_models.CrossEntropyLoss(), seed=SEED
    )
    with cuda.tensor_cores(precision == "tf32"), _autocast(precision, device):
        tensors = run_torch(module, task, torch.float32, device=device)
    return cuda.judge_device(f"{network} in {precision}", module, task, tensors)


def verdict(comparison: Comparison) -> str:
    """Return it in a few words."""
    worst = comparison.worst
    if comparison.passed:
        return f"passes, at most {worst.share:.2g} of what float32 is granted"
    place = " ".join(filter(None, (worst.layer, worst.tensor)))
    count = f"{len(comparison.failures)} of {len(comparison.checks)} tensors"
    return f"fails in {count}, up to {worst.share:,.0f} times what float32 is granted ({place})"


def _autocast(precision: str, device: str) -> AbstractContextManager:
    return torch.autocast(device, torch.bfloat16) if precision == "bf16" else nullcontext()
