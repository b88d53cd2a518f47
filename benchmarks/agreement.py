"""Before anything is timed: do the implementations compute the same training?

Training amplifies rounding, in some networks a thousandfold within twenty steps, so no fixed
tolerance would do. What rounding can cause is measured: the reference trains several times more
from weights off by a few roundings (`benchmarks.task.NUDGE`), and at each step the losses may
differ by FACTOR times the largest deviation seen up to there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.harness import BenchmarkError, Worker

STEPS = 20
NUDGES = 3
FACTOR = 4.0
#: The relative error granted in any case: a mean of float32 losses, rounded in another order.
FLOOR = 1e-6


def check_losses(
    workers: Mapping[str, Worker], reference: str, case: str, steps: int = STEPS
) -> dict[str, float]:
    """Compare the losses of the first steps, then of the test images, with the reference's.

    Returns:
        For each other implementation, the largest share of the tolerance that it used.

    Raises:
        BenchmarkError: naming the implementation and the step where losses differ by more.
    """
    others = [workers[reference].call("losses", steps=steps, nudge=n + 1) for n in range(NUDGES)]
    expected = workers[reference].call("losses", steps=steps)
    allowed = tolerances(expected, others)
    shares = {}
    for name in workers:
        if name == reference:
            continue
        losses = workers[name].call("losses", steps=steps)
        shares[name] = 0.0
        for step, (loss, wanted, tolerance) in enumerate(
            zip(losses, expected, allowed, strict=True)
        ):
            difference = abs(loss - wanted)
            if not difference <= tolerance:  # so that NaN fails too
                last = step == len(expected) - 1
                where = "on the test images" if last else f"at training step {step + 1}"
                raise BenchmarkError(
                    f"{name}, {case}: the loss {where} is {loss:.7g}, {reference}'s is "
                    f"{wanted:.7g}, and rounding explains {tolerance:.1g} at most; no times are "
                    "given for implementations that do not compute the same"
                )
            shares[name] = max(shares[name], difference / tolerance)
    return shares


def tolerances(expected: Sequence[float], nudged: Sequence[Sequence[float]]) -> list[float]:
    """Return how far a loss may be from the expected one, at each step."""
    largest, allowed = 0.0, []
    for step, loss in enumerate(expected):
        largest = max([largest, *(abs(other[step] - loss) for other in nudged)])
        allowed.append(FACTOR * largest + FLOOR * abs(loss))
    return allowed
