"""Compare a NumPy network with a torch module, and assert that the two agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from parity.assembly import explain
from parity.comparison import Comparison, Identity, LayerProbe, hold
from parity.localisation import probes
from parity.pair import setting_of
from parity.perturbation import layers_of
from parity.protocol import Criterion, DisagreementError, Network, ParityError
from parity.runs import Setting
from parity.tolerance import largest


def assert_parity(
    torch_module: nn.Module,
    numpy_network: Network,
    inputs: np.ndarray | Tensor,
    targets: np.ndarray | Tensor | None = None,
    **options: Any,
) -> Comparison:
    """Compare; on a mismatch raise DisagreementError, an AssertionError naming the culprit first.

    Takes the arguments of `compare` and returns the comparison.
    """
    return assert_agreement(setting_of(torch_module, numpy_network, inputs, targets, **options))


def compare(
    torch_module: nn.Module,
    numpy_network: Network,
    inputs: np.ndarray | Tensor,
    targets: np.ndarray | Tensor | None = None,
    **options: Any,
) -> Comparison:
    """Run both sides on the same numbers and judge every tensor by `parity.tolerance`'s rule.

    Torch's parameters and buffers are first copied into the NumPy network; the torch module is left
    as it was. Without a loss the upstream gradient is random normal; with one, both losses are
    compared too. The NumPy network runs once on other data beforehand, so that accumulated
    gradients and stale caches show.

    Where gradients differ and hang on decisions that rounding takes (`parity.decisions`), each
    layer is held alone as well, and the pair on random inputs.

    Args:
        torch_module: the torch side.
        numpy_network: the NumPy side.
        inputs: as in `parity.Pair`.
        targets: as in `parity.Pair`.
        options: ``train`` (True by default), ``torch_criterion``, ``numpy_criterion``, ``layers``,
            ``seed`` and ``name``, as in `parity.Pair`.

    Raises:
        ParityError: if there is no sample, or the two do not match in names, shapes or dtypes, or
            cannot be run.
    """
    return examine(setting_of(torch_module, numpy_network, inputs, targets, **options))


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
    losses: dict[str, Any] = {
        "torch_criterion": torch_criterion,
        "numpy_criterion": numpy_criterion,
        "name": name or type(torch_criterion).__name__,
    }
    return compare(nn.Identity(), Identity(), outputs, targets, **losses)


def localise(
    torch_module: nn.Module,
    numpy_network: Network,
    inputs: np.ndarray | Tensor,
    targets: np.ndarray | Tensor | None = None,
    **options: Any,
) -> list[LayerProbe]:
    """Run every layer alone, and the loss, fed what torch gave that layer forward and backward.

    Takes the arguments of `compare`.

    Returns:
        One probe per layer that both sides have, in torch's calling order, then the loss.
    """
    return probes(setting_of(torch_module, numpy_network, inputs, targets, **options))


def assert_agreement(setting: Setting) -> Comparison:
    """Examine a pair, and raise DisagreementError naming the culprit first if it fails."""
    comparison = examine(setting)
    if not comparison.passed:
        verdict, culprits = accuse(setting, comparison)
        raise DisagreementError(f"{verdict}\n{comparison}", culprits, comparison)
    return comparison


def examine(setting: Setting) -> Comparison:
    """Hold both sides against each other; judge apart what hangs on decisions of rounding.

    A layer alone is fed the same numbers on both sides, so that what ties for one ties for the
    other. On random inputs next to nothing ties.
    """
    comparison = hold(setting)
    if not comparison.passed or not comparison.decisions:
        return comparison
    task = setting.task
    try:
        alone = probes(setting)
    except ParityError:
        alone = []
    size = max(1.0, largest(task.inputs))
    drawn = size * np.random.default_rng((task.seed, 4)).standard_normal(task.inputs.shape)
    other = replace(task, inputs=drawn.astype(task.inputs.dtype))
    again = hold(replace(setting, name=f"{setting.name} on random inputs", task=other))
    verdicts = [*(probe.comparison for probe in alone), again]
    failures = [check for verdict in verdicts for check in verdict.failures]
    apart = f" agrees {'in each layer alone and ' if alone else ''}on random inputs"
    judged = {probe.layer for probe in alone if not probe.comparison.decisions}
    missed = [d.operation for d in comparison.decisions if d.operation not in judged]
    if missed:
        apart += f"; {', '.join(missed)} could not be judged alone"
    checks = [*comparison.checks, *failures]
    return replace(comparison, checks=checks, apart=apart, alone=alone)


def accuse(setting: Setting, comparison: Comparison) -> tuple[str, list[str]]:
    """Explain a comparison that failed: one line for each culprit, and the culprits' names."""
    if not any(setting.module.children()) and setting.task.torch_criterion is None:
        kind = type(setting.module).__name__
        return f"culprit: {kind}, the only layer", [kind]
    try:
        alone = comparison.alone or probes(setting)
    except ParityError as error:
        return f"culprit: unknown, because {error}", []
    guilty = [probe for probe in alone if not probe.comparison.passed]
    if guilty:
        lines = [f"culprit: {p.layer} ({p.kind}), wrong by itself: {_evidence(p)}" for p in guilty]
        return "\n".join(lines), [p.layer for p in guilty]
    found = explain(setting, comparison)
    if found:
        return f"culprit: {found[1]}", [found[0]]
    ran = {probe.layer for probe in alone}
    rest = [name for name in layers_of(setting.module) if name and name not in ran]
    return (
        "culprit: none of the layers that were run alone, each is right on its own "
        f"({', '.join(p.layer for p in alone)}); look at their order, at shapes between them"
        + (f", and at what was not run alone ({', '.join(rest)})" if rest else "")
    ), []


def _evidence(probe: LayerProbe) -> str:
    """Return the first wrong tensor; what comes after an output may merely inherit its error."""
    failures = probe.comparison.failures
    return str(failures[0] if failures[0].tensor == "output" else probe.comparison.worst)
