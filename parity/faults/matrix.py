"""Run the harness, as its users do, on planted faults and on harmless rewrites."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib import import_module

from parity.assertions import assert_agreement, examine
from parity.faults.recall import Recall
from parity.faults.record import Fault, Rewrite
from parity.faults.scenes import scene
from parity.protocol import DisagreementError, ParityError
from parity.tolerance import TensorCheck
from parity.trajectory import assert_trajectory, follow

AREAS = (
    "convolution",
    "linear",
    "pooling",
    "batch_norm",
    "dropout",
    "activations",
    "losses",
    "optimizers",
    "schedule",
    "transfer",
    "training",
    "blind_spots",
)
#: What may reject a fault, by the heading of its column.
CHECKS = {
    "match": "transfer",
    "forw": "forward",
    "loss": "loss",
    "d in": "input gradient",
    "d par": "parameter gradient",
    "buff": "buffers",
    "side": "side effects",
    "eval": "evaluation",
    "traj": "trajectory",
}
_RUNS = ("training", "evaluation", "trajectory")


@dataclass
class Kill:
    """What the harness said of a fault: which `CHECKS` rejected it, the first culprits and why."""

    fault: Fault
    checks: set[str] = field(default_factory=set)
    named: list[str] = field(default_factory=list)
    message: str = ""

    @property
    def survived(self) -> bool:
        """Whether the fault went undetected, or was put down to something else too."""
        return not self.checks or self.named != [self.fault.culprit]


def faults() -> list[Fault]:
    """Return the ledger."""
    return [f for area in AREAS for f in import_module(f"parity.faults.{area}").FAULTS]


def rewrites() -> list[Rewrite]:
    """Return the harmless rewrites."""
    return list(import_module("parity.faults.rewrites").REWRITES)


def kill(fault: Fault, recall: Recall, thorough: bool = True) -> Kill:
    """Plant a fault and run every check on it; unless thorough, none after one that rejects it.

    Only the first check that rejects a fault looks for the culprit, and the trajectory of a fault
    already found is short: the rest would cost time and show nothing new.
    """
    verdict = Kill(fault)
    for run in _RUNS:
        found = bool(verdict.checks)
        if found and not thorough:
            break
        try:
            failures = _failures(run, fault, recall, accuse=not found)
        except DisagreementError as error:
            failures = error.finding.failures
            verdict.named, verdict.message = error.culprits, str(error)
        except ParityError as error:
            verdict.checks.add("transfer")
            if not found:
                mentioned = fault.culprit in str(error).replace(",", " ").replace(":", " ").split()
                verdict.named = [fault.culprit] if mentioned else []
                verdict.message = str(error)
            continue
        if run == "training":
            verdict.checks |= {_check_of(failure) for failure in failures}
        elif failures:
            verdict.checks.add(run)
    return verdict


def pass_through(rewrite: Rewrite, recall: Recall) -> None:
    """Run every check on a harmless rewrite.

    Raises:
        DisagreementError: if one of them rejects it.
    """
    for run in _RUNS:
        _failures(run, rewrite, recall, accuse=True)


def _failures(run: str, change: Fault | Rewrite, recall: Recall, accuse: bool) -> list[TensorCheck]:
    """Plant a change in a new scene and compare; where there is to be an accusation, raise it."""
    planted = scene(change.scene)
    change.plant(planted)
    if run != "trajectory":
        setting = replace(planted.pair(train=run == "training").setting(), ask=recall)
        return (assert_agreement if accuse else examine)(setting).failures
    sides = planted.module, planted.network
    if accuse:
        return assert_trajectory(*sides, planted.batches, planted.recipe).failures
    return follow(*sides, planted.batches[:2], planted.recipe, probes=1).failures


def _check_of(failure: TensorCheck) -> str:
    if "changed by" in failure.note:
        return "side effects"
    if failure.tensor in ("loss", "gradient of output"):
        return "loss"
    if failure.tensor == "output":
        return "forward"
    if failure.tensor == "gradient of input":
        return "input gradient"
    return "parameter gradient" if failure.tensor.startswith("gradient") else "buffers"
