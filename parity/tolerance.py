"""The tolerance rule.

No tolerance is set by hand. Three computations of the same quantity are made from the same numbers:
the NumPy result a, torch's result t in the same dtype, and a reference r, the torch module in
float64. One tensor passes when

    max |a − r|  <=  max(4 · max |t − r|, floor)

that is, when NumPy's rounding error is at most 4 times torch's own, or within a floor that any
careful implementation must be allowed, because torch may be exact by luck where another order of
summation is not.

The floor is the error that rounding can cause, measured rather than guessed. A sum of n products
computed in any order is the exact sum for operands that are off by a relative √n·ε (the
probabilistic form of Wilkinson's n·ε: Higham and Mary, SIAM J. Sci. Comput. 41, 2019). So the
float64 reference is run again with every layer's input, parameters and upstream gradient changed
by a factor 1 ± √n·ε, where n is that layer's inner dimension (fan-in going forward; batch times
positions, or fan-out, going back; elements of a channel for batch statistics) and ε the machine
epsilon of the tested dtype. The floor is the largest movement of the tensor over a few such runs,
plus √n·ε·max |r| for sums of equal sign, where roundings add up while opposite operand changes
cancel.

Consequences. The scale comes from the magnitudes summed, not from the result: a bias before batch
normalisation, whose true gradient is zero, is allowed the rounding of the gradients it adds up and
no more. Ill-conditioned layers widen their own budget, well-conditioned ones do not. The signs of
the operand changes depend on the operands' values, so equal values stay equal, and what exact ties
decide (max pooling, ReLU at zero) must match exactly. In float64 the reference is torch itself: the
budget is then the floor, a few units in the last place.

Gradients jump where another element of a window becomes the largest or x crosses a ReLU's zero. A
run in which that happens, torch's own or one with changed operands, says nothing about the
gradients behind it and is not counted for them. Tensors that fail by this rule are judged once more
by `parity.decisions`.

Values that are not finite must be so on both sides, in the same places and of the same kind.

A budget can be so large that it would let anything pass: if the computation is chaotic, or
cancellation leaves less of a tensor than its rounding. An error above a tenth of the tensor's own
largest magnitude is therefore never a pass: the tensor cannot be judged in this precision, and the
pair does not agree. There are three exceptions: a budget of at most 1024 ε times the largest number
in any of the pair's tensors; in float32, what is zero but for float64's rounding, such as the
gradient of a bias before batch normalisation; what depends on decisions of rounding, which is
judged separately.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace

import numpy as np

from parity.protocol import kind_of

Place = tuple[str, str]
"""(layer, tensor); the layer is empty for what belongs to the whole network."""
Tensors = dict[Place, np.ndarray]

FACTOR = 4.0
TF32_ROUNDOFF = 2.0**-11
LARGEST_SHARE = 0.1
_NEGLIGIBLE = 1024
_DOUBLE = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class TensorCheck:
    """The verdict on one tensor.

    Attributes:
        network: the network's name.
        layer: the layer's name; empty for the network's own outputs and input gradient.
        tensor: which tensor, for example "gradient of weight".
        index: the element with the worst error.
        torch_value: torch's value there.
        numpy_value: NumPy's value there.
        error: NumPy's distance from the float64 reference there.
        budget: the error allowed.
        note: what is wrong besides, or instead of, the error (shape, dtype, non-finite values).
        unjudged: why neither a pass nor a failure can be read from the error.
    """

    network: str
    layer: str
    tensor: str
    index: tuple[int, ...]
    torch_value: float
    numpy_value: float
    error: float
    budget: float
    note: str = ""
    unjudged: str = ""

    @property
    def share(self) -> float:
        """The share of the budget used; above 1 is a failure."""
        if self.error == 0:
            return 0.0
        return self.error / self.budget if self.budget > 0 else float("inf")

    @property
    def passed(self) -> bool:
        """Whether the tensor is within its budget and has nothing else wrong."""
        return not self.note and not self.unjudged and self.share <= 1

    @property
    def failed(self) -> bool:
        """Whether the two sides disagree; what cannot be judged neither passes nor fails."""
        return not self.passed and not self.unjudged

    @property
    def label(self) -> str:
        """The tensor and its layer in words."""
        return f"{self.tensor} of {self.layer}" if self.layer else self.tensor

    @property
    def rank(self) -> tuple[bool, float]:
        """Sorts failures last, then by the share of the budget used."""
        return not self.passed, self.share

    def __str__(self) -> str:
        place = f"{self.network}, layer {self.layer}" if self.layer else self.network
        if self.note or self.unjudged:
            return f"{place}, {self.tensor}: {self.note or self.unjudged}"
        return (
            f"{place}, {self.tensor}: worst at {list(self.index)}: torch {self.torch_value:.9g}, "
            f"NumPy {self.numpy_value:.9g}, error {self.error:.3g}, tolerance {self.budget:.3g} "
            f"({self.share:.3g} of it used)"
        )


def largest(values: np.ndarray) -> float:
    """Return the largest magnitude among the finite values, 0 if there are none."""
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max()) if finite.size else 0.0


def movement(values: np.ndarray, reference: np.ndarray) -> float:
    """Return the largest distance between two arrays over the elements finite in both."""
    with np.errstate(invalid="ignore", over="ignore"):
        return largest(values.astype(np.float64) - reference)


def floor(reference: np.ndarray, trials: list[np.ndarray], length: int, epsilon: float) -> float:
    """Return the rounding error to allow to a tensor that sums `length` products: see above.

    `trials` are the tensor from runs with changed operands.
    """
    moved = max((movement(trial, reference) for trial in trials), default=0.0)
    return moved + length**0.5 * epsilon * largest(reference)


def judge(
    network: str,
    layer: str,
    tensor: str,
    numpy_value: np.ndarray,
    torch_value: np.ndarray,
    reference: np.ndarray,
    budget: float,
) -> TensorCheck:
    """Judge one tensor by the error allowed."""
    place = network, layer, tensor
    if not isinstance(numpy_value, np.ndarray):
        return fault(*place, f"NumPy gives {kind_of(numpy_value)}, not an array")
    if numpy_value.shape != torch_value.shape:
        return fault(*place, f"shape {torch_value.shape} in torch, {numpy_value.shape} in NumPy")
    if numpy_value.dtype != torch_value.dtype and not promoted(numpy_value, torch_value):
        return fault(*place, f"dtype {torch_value.dtype} in torch, {numpy_value.dtype} in NumPy")
    if not numpy_value.size:
        return TensorCheck(*place, (), 0.0, 0.0, 0.0, budget)
    if numpy_value.dtype == np.bool_:
        numpy_value, torch_value, reference = (
            x.astype(np.int8) for x in (numpy_value, torch_value, reference)
        )
    kinds = _kind(numpy_value) != _kind(torch_value)
    if kinds.any():
        index = tuple(int(i) for i in np.argwhere(kinds)[0])
        note = f"at {list(index)} torch has {torch_value[index]} and NumPy {numpy_value[index]}"
        values = float(torch_value[index]), float(numpy_value[index])
        return TensorCheck(*place, index, *values, float("inf"), budget, note)
    with np.errstate(invalid="ignore", over="ignore"):
        errors = np.abs(numpy_value.astype(np.float64) - reference)
    errors = np.where(np.isfinite(errors) & np.isfinite(numpy_value), errors, 0.0)
    index = tuple(int(i) for i in np.unravel_index(int(errors.argmax()), errors.shape))
    values = float(torch_value[index]), float(numpy_value[index])
    return TensorCheck(*place, index, *values, float(errors[index]), budget)


def promoted(numpy_value: np.ndarray, torch_value: np.ndarray) -> bool:
    """Return whether NumPy gives float64 where torch has float32: more than was asked for."""
    return (numpy_value.dtype, torch_value.dtype) == (np.float64, np.float32)


def fault(network: str, layer: str, tensor: str, note: str) -> TensorCheck:
    """Return a failed check for something that is wrong other than by its size."""
    nan = float("nan")
    return TensorCheck(network, layer, tensor, (), nan, nan, float("inf"), 0.0, note)


def vacuous(
    checks: list[TensorCheck], exact: Tensors, epsilon: float, apart: Container[str] = ()
) -> list[TensorCheck]:
    """Mark the checks of a pair that pass by a budget too large to mean anything: see above.

    Those `apart`, as "tensor of layer", are judged apart.
    """
    sizes = {place: largest(value) for place, value in exact.items()}
    negligible = _NEGLIGIBLE * epsilon * max(sizes.values(), default=0.0)
    zero = _NEGLIGIBLE * _DOUBLE / epsilon if epsilon > _DOUBLE else 0.0
    marked = []
    for check in checks:
        size = sizes.get((check.layer, check.tensor), 0.0)
        if check.passed and check.error > LARGEST_SHARE * size and check.label not in apart:
            excepted = check.budget <= negligible or size <= zero * check.budget
            told = f"rounding is granted {check.budget:.3g}, the tensor is at most {size:.3g}"
            check = replace(check, unjudged="" if excepted else told)
        marked.append(check)
    return marked


def _kind(values: np.ndarray) -> np.ndarray:
    """Return 0 for finite, 1 and −1 for the infinities, 2 for NaN."""
    infinite = np.sign(values, where=np.isinf(values), out=np.zeros(values.shape, values.dtype))
    return np.where(np.isnan(values), 2, infinite)
