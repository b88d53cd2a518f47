"""Run the harness, as its users do, on planted faults and on harmless rewrites."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib import import_module

from parity.assertions import assert_agreement, examine
from parity.faults.recall import Recall
from parity.faults.record import Fault, Rewrite, Scene
from parity.faults.scenes import scene
from parity.pair import Pair
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
CHECKS = (
    "transfer",
    "forward",
    "loss",
    "input gradient",
    "parameter gradient",
    "buffers",
    "side effects",
    "evaluation",
    "trajectory",
)


@dataclass
class Kill:
    """What the harness said of one fault.

    Attributes:
        fault: the fault.
        checks: which of `CHECKS` rejected it.
        named: the culprits, as the first rejecting run named them.
        message: the first message.
    """

    fault: Fault
    checks: set[str] = field(default_factory=set)
    named: list[str] = field(default_factory=list)
    message: str = ""

    @property
    def attributed(self) -> bool:
        """Whether its culprit was named, and nothing else."""
        return self.named == [self.fault.culprit]

    @property
    def survived(self) -> bool:
        """Whether the fault went undetected, or was put down to something else."""
        return not self.checks or not self.attributed


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
    for run in (_training, _evaluation, _trajectory):
        if verdict.checks and not thorough:
            break
        planted = scene(fault.scene)
        fault.plant(planted)
        found = bool(verdict.checks)
        try:
            failures = run(planted, recall, accuse=not found)
        except DisagreementError as error:
            failures = error.finding.failures
            verdict.named, verdict.message = error.culprits, str(error)
        except ParityError as error:
            verdict.checks.add("transfer")
            if not found:
                verdict.named = [fault.culprit] if _mentions(str(error), fault.culprit) else []
                verdict.message = str(error)
            continue
        if run is _training:
            verdict.checks |= {_check_of(failure) for failure in failures}
        elif failures:
            verdict.checks.add("evaluation" if run is _evaluation else "trajectory")
    return verdict


def pass_through(rewrite: Rewrite, recall: Recall) -> None:
    """Run every check on a harmless rewrite.

    Raises:
        DisagreementError: if one of them rejects it.
    """
    for run in (_training, _evaluation, _trajectory):
        planted = scene(rewrite.scene)
        rewrite.plant(planted)
        run(planted, recall, accuse=True)


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


def _mentions(sentence: str, name: str) -> bool:
    return name in sentence.replace(",", " ").replace(":", " ").split()


def _training(planted: Scene, recall: Recall, accuse: bool) -> list[TensorCheck]:
    return _parity(planted, recall, True, accuse)


def _evaluation(planted: Scene, recall: Recall, accuse: bool) -> list[TensorCheck]:
    return _parity(planted, recall, False, accuse)


def _parity(planted: Scene, recall: Recall, train: bool, accuse: bool) -> list[TensorCheck]:
    sides = planted.module, planted.network
    pair = Pair(*sides, *planted.batches[0], *planted.losses, train=train, vary=planted.vary)
    setting = replace(pair.setting(), ask=recall)
    return (assert_agreement if accuse else examine)(setting).failures


def _trajectory(planted: Scene, _: Recall, accuse: bool) -> list[TensorCheck]:
    pair, recipe = (planted.module, planted.network), planted.recipe()
    if accuse:
        return assert_trajectory(*pair, planted.batches, recipe).failures
    return follow(*pair, planted.batches[:2], recipe, probes=1).failures
