"""What a submission is graded on: the pairs of a factory, each in each of its modes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import nn

import parity
from parity.pair import Pair, as_pair
from parity.protocol import DisagreementError, Network, ParityError
from parity.steps import Batch, Recipe
from parity.tolerance import Place, TensorCheck

Factory = Callable[[Any], Any]


@dataclass(frozen=True)
class Training:
    """A pair that is trained, to hold an optimizer: arguments of `parity.assert_trajectory`."""

    torch_module: nn.Module
    numpy_network: Network
    batches: Sequence[Batch]
    recipe: Recipe


class Verdict(NamedTuple):
    """What is wrong with each tensor, empty for one that is right; and the first culprit."""

    faults: dict[Place, str]
    culprit: str = ""
    culprits: Sequence[str] = ()


@dataclass(frozen=True)
class Part:
    """Two sides in one mode."""

    sides: Pair | Training

    @property
    def places(self) -> list[Place]:
        """The tensors that give a point each, by (layer, tensor); the whole has no layer's name."""
        sides, module = self.sides, self.sides.torch_module
        named = [(name.rpartition("."), p) for name, p in module.named_parameters()]
        if isinstance(sides, Training):
            return [(layer, own) for (layer, _, own), _ in named]
        loss = [("", "loss"), ("", "gradient of output")] if sides.torch_criterion else []
        if isinstance(module, nn.Identity):  # a loss alone
            return loss
        layers = [name for name, m in module.named_modules() if name and not any(m.children())]
        found = [
            (layer, tensor) for layer in ["", *layers] for tensor in ("output", "gradient of input")
        ]
        found += [(layer, f"gradient of {own}") for (layer, _, own), p in named if p.requires_grad]
        buffers = {name for name, _ in module.named_buffers()} & module.state_dict().keys()
        split = (name.rpartition(".") for name in sorted(buffers))
        return [*found, *((layer, own) for layer, _, own in split), *loss]

    def assert_agreement(self) -> dict[Place, str]:
        """Return the tensors that were judged; raise DisagreementError unless both sides agree."""
        if isinstance(self.sides, Training):
            return _judged(parity.assert_trajectory(**vars(self.sides)))
        return _judged(parity.assert_parity(self.sides))

    def judge(self) -> Verdict:
        """Judge every tensor: as a layer alone computes it where a layer is wrong by itself.

        So no layer loses points for what another one handed it.
        """
        try:
            return self._agreed(self.assert_agreement())
        except DisagreementError as error:
            whole = _judged(error.finding)
            said, culprits = str(error).splitlines()[0].removeprefix("culprit: "), error.culprits
        except ParityError as error:  # what cannot be run as a whole may have layers that can
            whole, said, culprits = {}, str(error), []
        alone = self._alone()
        guilty = any(alone.values())
        if whole and (guilty or not alone):
            said = next(fault for fault in [*alone.values(), *whole.values()] if fault)
        judged = whole | alone if guilty else alone | whole
        faults = {place: judged.get(place, said) for place in self.places}
        if not any(faults.values()):  # what is wrong gives no points, and leaves none
            faults = dict.fromkeys(faults, said)
        return Verdict(faults, said, culprits)

    def _agreed(self, judged: dict[Place, str]) -> Verdict:
        """Return the verdict where both sides agree: what was not judged is not right for that."""
        faults = {}
        for layer, tensor in self.places:
            seen = judged.keys() & {(layer, tensor), ("", tensor)}
            faults[layer, tensor] = "" if seen else f"{tensor} was not judged, as it is not there"
        return Verdict(faults, next(filter(None, faults.values()), ""))

    def _alone(self) -> dict[Place, str]:
        found: dict[Place, str] = {}
        if isinstance(self.sides, Pair) and any(self.sides.torch_module.children()):
            with suppress(ParityError):
                for probe in parity.localise(self.sides):
                    found |= _faults(probe.comparison.checks, probe.layer)
        return found


def _judged(finding: Any) -> dict[Place, str]:
    """Return what is wrong with each tensor of a `Comparison` or a `Trajectory`."""
    steps = getattr(finding, "steps", None) or [finding.checks]
    return _faults([check for checks in steps for check in checks])


def _faults(checks: Sequence[TensorCheck], layer: str = "") -> dict[Place, str]:
    found: dict[Place, str] = {}
    for check in checks:
        place = layer or check.layer, check.tensor
        where, index = ", ".join(filter(None, place)), list(check.index)
        values = f"torch has {check.torch_value:.6g} and NumPy {check.numpy_value:.6g}"
        said = f"{where}: {check.note}" if check.note else f"{where} at {index}: {values}"
        found[place] = found.get(place) or ("" if check.passed else said)
    return found


def parts(factory: Factory, solution: Any) -> dict[str, Part]:
    """Return a factory's pairs for a solution, each in each of its modes, by name.

    A factory returns a pair as for ``python -m parity check``, a `Training`, or a dict of them.
    """
    made = factory(solution)
    named = made if isinstance(made, dict) and "torch_module" not in made else {"": made}
    found = {}
    for name, sides in named.items():
        if not isinstance(sides, Training):
            sides = as_pair(sides, "the factory")
        title = name or type(sides.torch_module).__name__
        if isinstance(sides, Training) or len(sides.modes) == 1:
            found[title] = Part(sides)
            continue
        for train in sides.modes:
            mode = f"{'training' if train else 'evaluation'} mode"
            found[f"{name}, {mode}" if name else mode] = Part(replace(sides, train=train))
    return found


def assert_parts(found: dict[str, Part]) -> None:
    """Raise AssertionError, naming the part and the culprit, unless all parts agree."""
    __tracebackhide__ = True  # pytest shows the sentence, and not how it was arrived at
    for name, part in found.items():
        try:
            part.assert_agreement()
        except (DisagreementError, ParityError) as error:
            raise AssertionError(f"{name}\n{error}") from None
