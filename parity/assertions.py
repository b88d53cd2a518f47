"""Compare a NumPy network with a torch module, and assert that the two agree."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from torch import nn

from parity.assembly import explain
from parity.comparison import CHANGED, DTYPE, SCALE, Comparison, LayerProbe, hold
from parity.localisation import copied, kind_of_part, parts, probes
from parity.pair import Pair
from parity.perturbation import layers_of
from parity.protocol import DisagreementError, Identity, ParityError
from parity.task import Setting
from parity.tolerance import TensorCheck
from parity.variation import drawn, hard, variations


def assert_parity(torch_module: nn.Module | Pair, *pair: Any, **options: Any) -> Comparison:
    """Compare; on a mismatch raise DisagreementError, an AssertionError naming the culprit first.

    Takes the arguments of `compare` and returns the comparison.
    """
    return assert_agreement(Pair.of(torch_module, *pair, **options).setting())


def compare(*pair: Any, **options: Any) -> Comparison:
    """Run both sides on the same numbers and judge every tensor by `parity.tolerance`'s rule.

    Torch's parameters and buffers are first copied into the NumPy network; the torch module is left
    as it was. Without a loss the upstream gradient is random normal; with one, both losses are
    compared too. The NumPy network runs once on other data and weights beforehand, so that
    accumulated gradients and stale caches show.

    Where gradients differ and depend on decisions that rounding takes (`parity.decisions`), each
    layer is also compared alone, and the pair on random inputs. A pair that agrees is compared
    again on variations of its inputs (`parity.variation`), unless ``vary=False``.

    Args:
        pair: a `Pair`, or the first of its arguments: torch module, NumPy network, inputs, targets.
        options: its other arguments, by name; training mode unless ``train=False``.

    Raises:
        ParityError: if there is no sample, or the two do not match in names, shapes or dtypes, or
            cannot be run.
    """
    return examine(Pair.of(*pair, **options).setting())


def compare_loss(
    torch_criterion: Any, numpy_criterion: Any, outputs: Any, targets: Any, name: str | None = None
) -> Comparison:
    """Compare a loss and its gradient on given outputs; both average over the batch."""
    pair = nn.Identity(), Identity(), outputs, targets, torch_criterion, numpy_criterion
    return compare(*pair, name=name or type(torch_criterion).__name__, vary=False)


def localise(*pair: Any, **options: Any) -> list[LayerProbe]:
    """Run every layer alone, and the loss, fed what torch gave that layer forward and backward.

    Takes the arguments of `compare`.

    Returns:
        One probe for each call of a layer that both sides have, in torch's calling order, then the
        loss. A layer that cannot be run alone is left out.
    """
    return probes(Pair.of(*pair, **options).setting())


def assert_agreement(setting: Setting) -> Comparison:
    """Examine a pair, and raise DisagreementError naming the culprit first if it fails.

    Raises:
        ParityError: if nothing disagrees but something cannot be judged.
    """
    comparison = examine(setting)
    if comparison.failures:
        verdict, culprits = accuse(comparison)
        raise DisagreementError(f"{verdict}\n{comparison}", culprits, comparison)
    if comparison.unjudged:
        told = "; ".join(str(check) for check in comparison.unjudged)
        raise ParityError(f"cannot be judged in {comparison.dtype}: {told}")
    return comparison


def examine(setting: Setting) -> Comparison:
    """Compare both sides, then again on variations; return the first comparison that fails.

    Raises:
        ParityError: if the two cannot be compared.
    """
    network, layers = copied((setting.network, setting.layers))
    pristine = replace(setting, network=network, layers=layers)
    comparison = replace(_examined(setting), setting=pristine)
    if not setting.vary or not comparison.passed:
        return comparison
    notes = ["after two calls of forward, the weights changed between them"]
    if not setting.task.forward_only:
        notes.insert(0, f"upstream gradient × {SCALE:.0f}")
    for label, task, refusable in variations(setting):
        name = f"{setting.name}, {label}"
        varied = hold(replace(setting, name=name, task=task))
        if varied.failures and not (refusable and varied.raised):
            return replace(varied, setting=replace(pristine, name=name, task=task))
        if varied.passed:
            notes.append(label)
    alone = list[str]()
    with suppress(ParityError):  # where nothing can be run alone
        for part in parts(setting) if any(setting.module.children()) else [setting]:
            if (made := hard(part)) is None:
                continue
            varied = hold(replace(made, network=copied(part.network)))
            # What is wrong alone on other numbers too has its arrays in another order than torch.
            if varied.failures and not varied.raised and hold(part).passed:
                return replace(varied, setting=made)
            if varied.passed:
                alone.append(part.layer or setting.name)
    if alone:
        notes.append(f"{', '.join(dict.fromkeys(alone))} alone, on equal numbers or large logits")
    return replace(comparison, notes=[*comparison.notes, f"also compared: {'; '.join(notes)}"])


def _examined(setting: Setting) -> Comparison:
    """Compare both sides; judge separately what depends on decisions of rounding.

    A layer alone receives the same numbers on both sides, so what ties for one ties for the other.
    On random inputs almost nothing ties.
    """
    comparison = _judged_in_parts(setting, hold(setting))
    if not comparison.passed or not comparison.decisions:
        return comparison
    try:
        alone = probes(setting)
    except ParityError:
        alone = []
    again = hold(
        replace(setting, name=f"{setting.name} on random inputs", task=drawn(setting.task))
    )
    verdicts = [*(probe.comparison for probe in alone), again]
    failures = [check for verdict in verdicts for check in verdict.failures]
    apart = f" agrees {'in each layer alone and ' if alone else ''}on random inputs"
    judged = {probe.layer for probe in alone if not probe.comparison.decisions}
    missed = [d.operation for d in comparison.decisions if d.operation not in judged]
    if missed:
        apart += f"; {', '.join(missed)} could not be judged alone"
    checks = [*comparison.checks, *failures]
    return replace(comparison, checks=checks, apart=apart, alone=alone)


def _judged_in_parts(setting: Setting, comparison: Comparison) -> Comparison:
    """Judge by the layers alone the tensors that low precision drowns in the whole pair.

    In bfloat16 so many ReLUs and maxima flip that a deep gradient is mostly chance.
    """
    doubtful = comparison.unjudged
    forward = any(check.tensor.startswith("output") for check in doubtful)
    if not setting.task.format or comparison.failures or not doubtful or forward:
        return comparison
    try:
        alone = probes(setting)
    except ParityError:
        return comparison
    judged = {probe.layer for probe in alone if probe.comparison.passed}
    told, checks = list[str](), list[TensorCheck]()
    for check in comparison.checks:
        if check.unjudged and (check.layer in judged or (not check.layer and len(judged))):
            check = replace(check, unjudged="")
            told.append(check.label)
        checks.append(check)
    checks += [failure for probe in alone for failure in probe.comparison.failures]
    note = f"judged in each layer alone, as {setting.task.format} leaves little of it in the whole"
    notes = [*comparison.notes, f"{note}: {', '.join(told)}"]
    return replace(comparison, checks=checks, alone=alone, notes=notes)


def accuse(comparison: Comparison) -> tuple[str, list[str]]:
    """Explain a comparison that failed: one line for each culprit, and the culprits' names."""
    setting = comparison.setting
    assert setting is not None
    if not comparison.wrong:
        return f"culprit: dtype, and nothing else: {comparison.failures[0].note}", [DTYPE]
    if setting.layer:
        probe = LayerProbe(setting.layer, kind_of_part(setting), comparison)
        return f"culprit: {probe}", [probe.layer]
    if not any(setting.module.children()) and setting.task.torch_criterion is None:
        kind = type(setting.module).__name__
        return f"culprit: {kind}, the only layer: {comparison.evidence}", [kind]
    alone, reason = comparison.alone, None
    try:
        alone = alone or probes(setting)
    except ParityError as error:
        reason = error
    guilty = _guilty(alone, comparison)
    if guilty:
        return "\n".join(f"culprit: {probe}" for probe in guilty), [p.layer for p in guilty]
    found = explain(setting, comparison)
    if found:
        return f"culprit: {found[1]}", [found[0]]
    if reason:
        return f"culprit: unknown, because {reason}", []
    ran = list(dict.fromkeys(probe.layer for probe in alone if not probe.comparison.wrong))
    rest = [name for name in layers_of(setting.module) if name and name not in ran]
    return (
        "culprit: none of the layers that were run alone, each is right on its own "
        f"({', '.join(ran)}); look at their order and at what lies between them, such as a sum, "
        "a mask, or a flatten that orders its elements otherwise"
        + (
            f", and at what could not be judged alone ({', '.join(rest)}): pass layers="
            if rest
            else ""
        )
    ), []


def _guilty(alone: list[LayerProbe], comparison: Comparison) -> list[LayerProbe]:
    """Return the layers that fail alone, each once.

    One that only changes what it is handed may do no harm: it is left out where others compute
    something wrong, unless the whole pair shows its change. One whose output is wrong, where
    nothing that the whole pair computes going forward is, takes its inputs in another order than
    torch's.
    """
    guilty = {p.layer: p for p in reversed(alone) if p.comparison.wrong}
    if all(check.tensor.startswith("gradient of ") for check in comparison.failures):
        guilty = {n: p for n, p in guilty.items() if _right_forward(p.comparison)}
    shown = {check.layer for check in comparison.failures if CHANGED in check.note}
    wrong = [
        layer
        for layer, probe in guilty.items()
        if layer in shown or any(CHANGED not in check.note for check in probe.comparison.wrong)
    ]
    return [guilty[layer] for layer in reversed(wrong or list(guilty))]


def _right_forward(comparison: Comparison) -> bool:
    """Return whether any output agrees."""
    return any(not c.failed for c in comparison.checks if c.tensor.startswith("output"))
