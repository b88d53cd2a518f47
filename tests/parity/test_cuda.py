"""torch on CUDA against the reference; without a device, the rule is tried by imitating TF32."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import numpy_models
import torch_models
from parity import ParityError
from parity.cuda import assert_parity_on_device, judge_device
from parity.networks import NetworkCase, network_cases
from parity.precision import FORMATS, round_to_tf32, rounded_runs
from parity.runs import run_torch
from parity.task import Task

NO_DEVICE = "needs a CUDA device, and this torch sees none"
CASES = network_cases()


def losses():
    return {
        "torch_criterion": nn.CrossEntropyLoss(),
        "numpy_criterion": numpy_models.CrossEntropyLoss(),
    }


def task_of(case: NetworkCase, rng) -> tuple[nn.Module, Task]:
    module = torch_models.build(case.name, **case.arguments)
    inputs, targets = rng.random((6, *case.input)).astype(np.float32), rng.integers(0, 10, 6)
    return module, Task(inputs, None, targets, *losses().values())


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_DEVICE)
@pytest.mark.parametrize("tf32", [False, True], ids=["float32", "tf32"])
@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_on_cuda(case: NetworkCase, train: bool, tf32: bool, rng) -> None:
    module = torch_models.build(case.name, **case.arguments)
    network = numpy_models.build(case.name, **case.arguments)
    inputs, targets = rng.random((6, *case.input)).astype(np.float32), rng.integers(0, 10, 6)
    assert_parity_on_device(
        module, network, inputs, targets, train=train, tf32=tf32, name=str(case), **losses()
    )


@pytest.mark.parametrize("case", CASES[:3], ids=str)
def test_the_cpu_as_the_device(case: NetworkCase, rng) -> None:
    module, task = task_of(case, rng)
    network = numpy_models.build(case.name, **case.arguments)
    pair = module, network, task.inputs
    ours, theirs = assert_parity_on_device(*pair, device="cpu", name=str(case))
    assert len(ours.checks) >= len(theirs.checks) > 10
    assert theirs.network.endswith("on cpu")


def test_rounding_keeps_eleven_significant_bits() -> None:
    one = 1 + 2.0**-10
    x = torch.tensor([one, 1 + 2.0**-11, 1 + 3 * 2.0**-11, -0.0, 3e-39, np.inf, -np.nan])
    rounded = round_to_tf32(x.double())
    assert rounded[:4].tolist() == [one, 1.0, 1 + 2.0**-9, -0.0]
    assert rounded[5] == np.inf
    assert torch.isnan(rounded[6])


def imitated(module: nn.Module, task: Task, keep: float) -> dict:
    """Return torch's tensors in float32, operands rounded to 11 bits less log2(keep)."""
    module = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.copy_(_coarse(parameter, keep))
    for layer in module.modules():
        if any(p.ndim > 1 for p in layer.parameters(recurse=False)):
            layer.register_forward_pre_hook(lambda _, xs: tuple(_coarse(x, keep) for x in xs))
    return run_torch(module, task, torch.float32)


def _coarse(x: torch.Tensor, keep: float) -> torch.Tensor:
    shift = x.detach() * (keep * 2.0**13 + 1)  # Veltkamp's splitting for a 24-bit significand
    return x + ((shift - (shift - x.detach())) - x).detach()


@pytest.mark.parametrize("case", [c for c in CASES if not c.arguments], ids=str)
def test_tf32_passes_its_own_rule_and_fails_the_strict_one(case: NetworkCase, rng) -> None:
    module, task = task_of(case, rng)
    tensors = imitated(module, task, 1)
    assert not judge_device("strict", module, task, tensors).passed
    verdict = judge_device("tf32", module, replace(task, format="tf32"), tensors)
    assert verdict.passed, str(verdict)


@pytest.mark.parametrize("case", CASES[:2], ids=str)
def test_five_bits_fail_the_rule_for_tf32(case: NetworkCase, rng) -> None:
    module, task = task_of(case, rng)
    tensors = imitated(module, task, 64)
    verdict = judge_device("coarse", module, replace(task, format="tf32"), tensors)
    assert {check.tensor for check in verdict.failures} >= {"output"}


def test_the_rounded_reference_leaves_the_module_alone(rng) -> None:
    module, task = task_of(CASES[0], rng)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    rounded_runs(module, task, FORMATS["bfloat16"])
    assert all(torch.equal(before[name], t) for name, t in module.state_dict().items())
    assert not any(layer._forward_hooks for layer in module.modules())


def test_bad_input_is_one_sentence(rng) -> None:
    module = nn.Linear(3, 2)
    network = numpy_models.Sequential(numpy_models.Linear(3, 2)).to(np.float64)
    with pytest.raises(ParityError, match="a device is compared in float32"):
        assert_parity_on_device(module, network, np.ones((2, 3)), device="cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ParityError, match="sees no CUDA device"):
            assert_parity_on_device(module, network, np.ones((2, 3), np.float32))
