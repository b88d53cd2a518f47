"""The same proof with torch on a CUDA device, TF32 off and on.

Three computations are held against the float64 reference on the CPU: NumPy's and torch's in float32
on the CPU, by `parity.tolerance`'s rule, and torch's on the device, by the same rule with a floor
of its own. Without TF32 that is the floor NumPy is granted. With TF32 it is `tf32_reference`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from parity import perturbation
from parity.assertions import examine
from parity.comparison import Comparison, judged_again
from parity.pair import Pair
from parity.protocol import DisagreementError, ParityError
from parity.runs import Probe, Task, Tensors, clone, references, run_torch
from parity.tolerance import FACTOR, TF32_ROUNDOFF, judge, movement
from parity.trees import mapped, named


def compare_on_device(
    *pair: Any, device: str = "cuda", tf32: bool = False, **options: Any
) -> list[Comparison]:
    """Compare NumPy with torch, then torch on a device with both.

    Args:
        pair: as in `parity.compare`, with float32 inputs.
        device: where torch runs; "cpu" compares torch with itself.
        tf32: let convolutions and matrix products round their operands to TF32.
        options: as in `parity.compare`.

    Returns:
        NumPy's comparison, then the device's.

    Raises:
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
    with precision(tf32):
        theirs = run_torch(setting.module, setting.task, torch.float32, device=device)
    title = f"{ours.network} on {device}{' with TF32' if tf32 else ''}"
    return [ours, judge_device(title, setting.module, setting.task, theirs, tf32)]


def assert_parity_on_device(*arguments: Any, **options: Any) -> list[Comparison]:
    """Do as `compare_on_device`, and raise DisagreementError where one comparison fails."""
    comparisons = compare_on_device(*arguments, **options)
    for comparison in comparisons:
        if not comparison.passed:
            raise DisagreementError(f"culprit: {comparison.network}\n{comparison}", [], comparison)
    return comparisons


def judge_device(
    name: str, module: nn.Module, task: Task, tensors: Tensors, tf32: bool
) -> Comparison:
    """Judge what a device computed; the module has the task's dtype and mode."""
    given = references(module, task)
    own, reference = given.own, given.exact
    rounded = [tf32_reference(module, task), *_moved(module, task)] if tf32 else [own]
    checks = []
    for place, value in tensors.items():
        moved = max(movement(each[place], reference[place]) for each in rounded)
        granted = max(given.budgets[place], FACTOR * moved)
        checks.append(judge(name, *place, value, own[place], reference[place], granted))
    comparison = Comparison(name, task.dtype.name, task.train, checks)
    return comparison if tf32 else judged_again(comparison, module, task, given)


def tf32_reference(module: nn.Module, task: Task) -> Tensors:
    """Return the float64 reference with the operands of every product rounded to TF32.

    These are the inputs and parameters of layers with weights, and the gradients that arrive at
    them. What this moves stands in for torch's own error in the rule.
    """
    module = clone(module, torch.float64, task.train)
    for layer in perturbation.layers_of(module).values():
        if any(p.ndim > 1 for p in layer.parameters(recurse=False)):
            _round_operands(layer)
    return run_torch(module, task, torch.float64)


def _moved(module: nn.Module, task: Task, probes: int = 3) -> list[Tensors]:
    """Return the reference with the operands of every product moved by TF32's unit roundoff."""
    once = perturbation.InnerDimensions(1, 1)
    layers = {
        name: once
        for name, layer in perturbation.layers_of(module).items()
        if any(p.ndim > 1 for p in layer.parameters(recurse=False))
    }
    return [
        run_torch(module, task, torch.float64, Probe(layers, TF32_ROUNDOFF, number))
        for number in range(probes)
    ]


def round_to_tf32(x: Tensor) -> Tensor:
    """Return x rounded to 11 significant bits, ties to even, with the identity as derivative."""
    mantissa, exponent = torch.frexp(x.detach())
    rounded = torch.ldexp(torch.round(mantissa / TF32_ROUNDOFF) * TF32_ROUNDOFF, exponent)
    return x + torch.where(torch.isfinite(x), rounded - x, 0).detach()


def _round_operands(layer: nn.Module) -> None:
    with torch.no_grad():
        for parameter in layer.parameters(recurse=False):
            if parameter.ndim > 1:
                parameter.copy_(round_to_tf32(parameter))
    layer.register_forward_pre_hook(_round_inputs, with_kwargs=True)
    layer.register_forward_hook(_round_gradient)


def _round_inputs(_: nn.Module, args: Any, kwargs: Any) -> Any:
    def rounded(_: str, x: Tensor) -> Tensor:
        return round_to_tf32(x) if x.is_floating_point() else x

    return mapped(rounded, (args, kwargs), Tensor)


def _round_gradient(_: nn.Module, args: Any, y: Any) -> None:
    for leaf in named(y, Tensor).values():
        if leaf.requires_grad:
            leaf.register_hook(round_to_tf32)


@contextmanager
def precision(tf32: bool) -> Iterator[None]:
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
