"""Hold a NumPy network against a torch module, and assert that the two agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from parity.assembly import explain
from parity.comparison import Comparison, Identity, check_inputs, hold
from parity.localisation import LayerProbe, localise, parts
from parity.noise import layers_of
from parity.protocol import (
    Criterion,
    DisagreementError,
    Network,
    ParityError,
    check_network,
    kind_of,
)
from parity.runs import Task, clone, torch_dtype, with_upstream
from parity.tolerance import largest
from parity.transfer import to_array


def compare(
    torch_module: nn.Module,
    numpy_network: Network,
    inputs: np.ndarray | Tensor,
    targets: np.ndarray | Tensor | None = None,
    *,
    torch_criterion: Callable[[Tensor, Tensor], Tensor] | None = None,
    numpy_criterion: Criterion | None = None,
    train: bool = True,
    seed: int = 0,
    name: str | None = None,
    layers: Mapping[str, Any] | None = None,
) -> Comparison:
    """Run both sides on the same numbers and judge every tensor by `parity.tolerance`'s rule.

    Torch's parameters and buffers are first copied into the NumPy network; the torch module is left
    as it was. Without a loss the upstream gradient is random normal; with one, both losses are
    compared too. The NumPy network runs once on other data beforehand, so that accumulated
    gradients and stale caches show.

    Where gradients differ and hang on decisions that rounding takes (`parity.decisions`), each
    layer is held alone as well, and the pair on random inputs.

    Args:
        torch_module: any module of one input; it may be a single layer.
        numpy_network: any object of `parity.protocol.Network`, with torch's parameter names.
        inputs: (N, …) array or tensor; its dtype, float32 or float64, must be the NumPy
            parameters'. Of a tensor the numbers are taken, wherever it lies.
        targets: class indices (N,) or values, an array or a tensor; needed with a loss.
        torch_criterion: loss on torch's side, mean reduction.
        numpy_criterion: the same loss on NumPy's side.
        train: training or evaluation mode.
        seed: seed of the upstream gradient and of the shared dropout masks.
        name: what messages call the pair; the torch class's name by default.
        layers: NumPy layer by torch's attribute name; by default ``numpy_network.layers``, or the
            network's attributes of those names. Each is an object of `parity.protocol.Network`, or
            a layer of `numpy_models`.

    Raises:
        ParityError: if there is no sample, or the two do not match in names, shapes or dtypes, or
            cannot be run.
    """
    if not isinstance(torch_module, nn.Module):
        raise ParityError(
            f"torch_module must be a torch.nn.Module, and it is {kind_of(torch_module)}"
        )
    check_network(numpy_network)
    inputs, targets = to_array(inputs), to_array(targets)
    check_inputs(inputs, numpy_network)
    if (torch_criterion is None) != (numpy_criterion is None):
        raise ParityError("a loss is needed on both sides: torch_criterion and numpy_criterion")
    if torch_criterion is not None and targets is None:
        raise ParityError("a loss needs targets: pass targets=")
    name = name or type(torch_module).__name__
    torch_module = clone(torch_module, torch_dtype(inputs), train)
    task = Task(inputs, None, targets, torch_criterion, numpy_criterion, train, seed)
    task = with_upstream(torch_module, task)
    comparison = hold(name, torch_module, numpy_network, task)
    if comparison.passed and comparison.decisions:
        return judged_apart(comparison, torch_module, numpy_network, task, layers)
    return comparison


def judged_apart(
    comparison: Comparison,
    torch_module: nn.Module,
    numpy_network: Network,
    task: Task,
    layers: Mapping[str, Any] | None,
) -> Comparison:
    """Judge without the decisions of rounding what hangs on them, and add what fails.

    A layer alone is fed the same numbers on both sides, so that what ties for one ties for the
    other. On random inputs, the whole network decides nothing by rounding, or little.
    """
    name = comparison.network
    try:
        probes = [
            (part.layer, hold(f"{name}, {part.layer} alone", part.module, part.network, part.task))
            for part in parts(torch_module, numpy_network, task, layers)
        ]
    except ParityError:
        probes = []
    alone = {layer for layer, verdict in probes if not verdict.decisions}
    missed = [d.operation for d in comparison.decisions if d.operation not in alone]
    generator = np.random.default_rng((task.seed, 4))
    size = max(1.0, largest(task.inputs))
    inputs = (size * generator.standard_normal(task.inputs.shape)).astype(task.inputs.dtype)
    again = hold(
        f"{name} on random inputs", torch_module, numpy_network, replace(task, inputs=inputs)
    )
    failures = [check for _, verdict in [*probes, ("", again)] for check in verdict.failures]
    apart = f" agrees {'in each layer alone and ' if probes else ''}on random inputs"
    if missed:
        apart += f"; {', '.join(missed)} could not be judged alone"
    return replace(comparison, checks=[*comparison.checks, *failures], apart=apart)


def compare_loss(
    torch_criterion: Callable[[Tensor, Tensor], Tensor],
    numpy_criterion: Criterion,
    outputs: np.ndarray | Tensor,
    targets: np.ndarray | Tensor,
    *,
    name: str | None = None,
) -> Comparison:
    """Hold a NumPy loss against a torch loss on given outputs: the loss and its gradient.

    Args:
        torch_criterion: loss on torch's side, mean reduction.
        numpy_criterion: object of `parity.protocol.Criterion`.
        outputs: (N, …) array or tensor, float32 or float64.
        targets: class indices (N,) or values.
        name: what messages call the pair; the torch class's name by default.
    """
    name = name or type(torch_criterion).__name__
    identity = Identity()
    return compare(
        nn.Identity(),
        identity,
        outputs,
        targets,
        torch_criterion=torch_criterion,
        numpy_criterion=numpy_criterion,
        name=name,
    )


def assert_parity(
    torch_module: nn.Module,
    numpy_network: Network,
    inputs: np.ndarray | Tensor,
    targets: np.ndarray | Tensor | None = None,
    **options: Any,
) -> Comparison:
    """Compare; on a mismatch raise DisagreementError, an AssertionError naming the culprit first.

    Takes the arguments of `compare`; returns the comparison.
    """
    inputs, targets = to_array(inputs), to_array(targets)
    comparison = compare(torch_module, numpy_network, inputs, targets, **options)
    if not comparison.passed:
        verdict, culprits = accuse(
            torch_module, numpy_network, inputs, targets, comparison, **options
        )
        raise DisagreementError(f"{verdict}\n{comparison}", culprits, comparison)
    return comparison


def accuse(
    torch_module: nn.Module,
    numpy_network: Network,
    inputs: np.ndarray,
    targets: np.ndarray | None,
    comparison: Comparison,
    **options: Any,
) -> tuple[str, list[str]]:
    """Explain a comparison that failed: one line for each culprit, and the culprits' names.

    Takes the arguments of `localise` besides.
    """
    if not any(torch_module.children()) and options.get("torch_criterion") is None:
        kind = type(torch_module).__name__
        return f"culprit: {kind}, the only layer", [kind]
    try:
        probes = localise(torch_module, numpy_network, inputs, targets, **options)
    except ParityError as error:
        return f"culprit: unknown, because {error}", []
    guilty = [probe for probe in probes if not probe.comparison.passed]
    if guilty:
        lines = [f"culprit: {p.layer} ({p.kind}), wrong by itself: {_evidence(p)}" for p in guilty]
        return "\n".join(lines), [p.layer for p in guilty]
    found = explain(torch_module, numpy_network, inputs, targets, comparison, **options)
    if found:
        return f"culprit: {found[1]}", [found[0]]
    ran = {probe.layer for probe in probes}
    rest = [name for name in layers_of(torch_module) if name and name not in ran]
    return (
        "culprit: none of the layers that were run alone, each is right on its own "
        f"({', '.join(p.layer for p in probes)}); look at their order, at shapes between them"
        + (f", and at what was not run alone ({', '.join(rest)})" if rest else "")
    ), []


def _evidence(probe: LayerProbe) -> str:
    """Return the first wrong tensor; what comes after an output may merely inherit its error."""
    failures = probe.comparison.failures
    return str(failures[0] if failures[0].tensor == "output" else probe.comparison.worst)
