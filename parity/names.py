"""Another side's names and layouts for torch's parameters: one map for everything named like them.

A map takes each of torch's names to the other side's::

    names = {
        "fc.weight": ("W", "T"),                          # another name, transposed
        "conv.weight": ("kernel", "OIHW->HWIO"),          # axes in another order
        "lstm.weight_ih_l0": gates("ifgo->figo"),         # the same name, its blocks reordered
        "attn.in_proj_weight": split("Wq", "Wk", "Wv"),   # one of torch's, several there
        ("lstm.bias_ih_l0", "lstm.bias_hh_l0"): summed("b"),
        "bn.num_batches_tracked": None,                   # a buffer that the other side lacks
    }

What it leaves out keeps its name. After a name come the steps of a layout, applied to torch's
tensor from left to right: ``"T"``, axes as in ``"OIHW->HWIO"``, `gates`, or any function that
rearranges an array's elements, such as ``lambda w: w[:, :, ::-1, ::-1]``.

Every step only moves elements. So each is applied once, to the numbers of torch's elements, and the
arrangement that comes out serves in both directions, for parameters, gradients, buffers and an
optimizer's state alike: there is no inverse that could be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from torch import nn

from parity.protocol import ParityError, kind_of

Step = str | Callable[[np.ndarray], np.ndarray]
Arrays = dict[str, Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Rearrangement:
    """Where torch's arrays go: the other side's by name; with `adds`, those of their sum."""

    place: Callable[[list[np.ndarray]], dict[str, np.ndarray]]
    adds: bool = False


def gates(order: str, axis: int = 0) -> Step:
    """Return the step that reorders equal blocks along an axis, as ``"ifgo->figo"`` does."""
    before, after = _letters(order)

    def reorder(array: np.ndarray) -> np.ndarray:
        blocks = np.split(array, len(before), axis)
        return np.concatenate([blocks[before.index(letter)] for letter in after], axis)

    return reorder


def split(*parts: Any, axis: int = 0, sizes: Sequence[int] | None = None) -> Rearrangement:
    """Say that one of torch's tensors is several arrays there, each a name or (name, steps…).

    They come in torch's order along the axis, of equal sizes unless sizes are given.
    """

    def place(arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
        (array,) = arrays
        cuts = len(parts) if sizes is None else list(np.cumsum(sizes)[:-1])
        if sizes is not None and sum(sizes) != array.shape[axis]:
            told = f"sizes={[*sizes]} add up to {sum(sizes)}, and the axis has {array.shape[axis]}"
            raise ParityError(f"split: {told}")
        pieces = np.split(array, cuts, axis)
        named = [part if isinstance(part, tuple) else (part,) for part in parts]
        return {
            name: laid_out(piece, steps)
            for piece, (name, *steps) in zip(pieces, named, strict=True)
        }

    return Rearrangement(place)


def fused(name: str, *steps: Step, axis: int = 0) -> Rearrangement:
    """Say that several of torch's tensors are one array there, joined along an axis of theirs."""
    return Rearrangement(lambda arrays: {name: laid_out(np.concatenate(arrays, axis), steps)})


def summed(name: str, *steps: Step) -> Rearrangement:
    """Say that only the sum of several of torch's tensors exists there, as with an LSTM's biases.

    The sum's gradient is that of each of them. In training torch moves each of them, the other side
    their sum once: that is a difference, and is shown as one. To hold training steps, let torch
    train only the first: ``module.lstm.bias_hh_l0.requires_grad_(False)``.
    """
    return Rearrangement(lambda arrays: {name: laid_out(arrays[0], steps)}, adds=True)


def laid_out(array: np.ndarray, steps: Sequence[Step]) -> np.ndarray:
    """Apply a layout's steps.

    Raises:
        ValueError: if one does not fit the array.
    """
    for step in steps:
        if step == "T":
            if array.ndim != 2:
                raise ValueError(f"T is for matrices, not for {array.ndim} axes")
            array = array.T
        elif isinstance(step, str):
            before, after = _letters(step)
            if len(before) != array.ndim:
                raise ValueError(f"{step} is for {len(before)} axes, not for {array.ndim}")
            array = array.transpose([before.index(letter) for letter in after])
        else:
            array = step(array)
    return array


@dataclass(frozen=True)
class Rule:
    """One entry of a map, worked out for the shapes at hand.

    Attributes:
        shapes: torch's tensors, by name.
        order: for each of the other side's arrays, which of torch's elements stands where; the
            elements are numbered through all the tensors.
        adds: whether the other side holds the sum of the tensors.
    """

    shapes: dict[str, Shape]
    order: dict[str, np.ndarray]
    adds: bool = False

    def to_other(self, tensors: Mapping[str, np.ndarray]) -> Arrays:
        """Return the other side's arrays for torch's."""
        values = [tensors[name] for name in self.shapes]
        flat = np.sum(values, 0).ravel() if self.adds else np.concatenate([*map(np.ravel, values)])
        return {name: flat[order] for name, order in self.order.items()}

    def to_torch(self, arrays: Mapping[str, Any]) -> Arrays:
        """Return torch's arrays for the other side's gradients, states or, unless `adds`, any."""
        values = {name: arrays[name] for name in self.order}
        for name, order in self.order.items():
            if not isinstance(values[name], np.ndarray):
                return dict.fromkeys(self.shapes, values[name])
            if values[name].shape != order.shape:
                raise ParityError(
                    f"names= has {' and '.join(self.shapes)} as {name} of shape {order.shape}, "
                    f"and {name} has shape {values[name].shape}"
                )
        flat = np.empty(sum(o.size for o in self.order.values()), np.result_type(*values.values()))
        for name, order in self.order.items():
            flat[order] = values[name]
        if self.adds:
            return {name: flat.reshape(shape) for name, shape in self.shapes.items()}
        return _cut(flat, self.shapes)


@dataclass(frozen=True)
class Names:
    """A map worked out for one module.

    Attributes:
        rules: its entries; what they do not name is called alike on both sides.
        absent: torch's buffers that the other side has none of.
        fixed: torch's parameters without a gradient that are summands on the other side.
    """

    rules: list[Rule]
    absent: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset()

    def to_other(self, tensors: Mapping[str, Any]) -> Arrays:
        """Return arrays by the other side's names and layouts; what is incomplete is left out."""
        mapped = {name for rule in self.rules for name in rule.shapes} | self.absent
        arrays = {name: value for name, value in tensors.items() if name not in mapped}
        for rule in self.rules:
            if rule.shapes.keys() <= tensors.keys():
                arrays |= rule.to_other(tensors)
        return arrays

    def to_torch(self, arrays: Mapping[str, Any]) -> Arrays:
        """Return arrays by torch's names and layouts; what is incomplete keeps its names."""
        rules = [rule for rule in self.rules if rule.order.keys() <= arrays.keys()]
        used = {name for rule in rules for name in rule.order}
        tensors = {name: value for name, value in arrays.items() if name not in used}
        for rule in rules:
            found = rule.to_torch(arrays)
            if twice := sorted(tensors.keys() & found.keys()):
                raise ParityError(
                    f"{twice[0]} is there twice: under its own name, and as "
                    f"{' and '.join(rule.order)} by names="
                )
            tensors |= found
        return tensors

    def gradients(self, arrays: Mapping[str, Any]) -> Arrays:
        """Return gradients, or an optimizer's states, by torch's names and layouts."""
        return {n: array for n, array in self.to_torch(arrays).items() if n not in self.fixed}

    def concern(self, layer: str) -> bool:
        """Return whether the map has anything to say of a layer, by torch's name for it."""
        named = self.absent.union(*(rule.shapes for rule in self.rules))
        return any(name.startswith(f"{layer}.") for name in named)

    def part(self, layer: str, local: Mapping[str, str]) -> Names:
        """Return the map of a layer that torch calls so; `local` are the layer's own names for
        arrays, by the other side's.
        """
        prefix = f"{layer}."
        rules = [
            Rule(
                {name.removeprefix(prefix): shape for name, shape in rule.shapes.items()},
                {local[name]: order for name, order in rule.order.items()},
                rule.adds,
            )
            for rule in self.rules
            if all(name.startswith(prefix) for name in rule.shapes)
            and rule.order.keys() <= local.keys()
        ]
        inside = (
            frozenset(name.removeprefix(prefix) for name in names if name.startswith(prefix))
            for names in (self.absent, self.fixed)
        )
        return Names(rules, *inside)


def resolve(names: Mapping[Any, Any], module: nn.Module) -> Names:
    """Work out a map for a module's parameters and buffers.

    Raises:
        ParityError: naming the entry that does not fit.
    """
    state = module.state_dict(keep_vars=True)
    buffers = dict(module.named_buffers())
    rules, absent, holders = list[Rule](), set[str](), dict[str, str]()
    for key, entry in names.items():
        of = key if isinstance(key, tuple) else (key,)
        for name in of:
            if name not in state:
                near = get_close_matches(str(name), state, 1)
                hint = f": did you mean {near[0]}?" if near else ""
                raise ParityError(f"names= has {name}, which torch's module does not have{hint}")
        if entry is None:
            if of[0] not in buffers:
                raise ParityError(
                    f"names= has no counterpart for {of[0]}: only a buffer may have none"
                )
            absent |= {*of}
            continue
        rules.append(_rule({name: tuple(state[name].shape) for name in of}, entry))
        for other in rules[-1].order:
            first = holders.setdefault(other, of[0])
            if state[first] is not state[of[0]]:
                raise ParityError(f"names= gives {other} to both {first} and {of[0]}")
    fixed = {n for r in rules if r.adds for n in r.shapes if not state[n].requires_grad}
    return Names(rules, frozenset(absent), frozenset(fixed))


def _rule(shapes: dict[str, Shape], entry: Any) -> Rule:
    said = " and ".join(shapes)
    if not isinstance(entry, Rearrangement):
        if len(shapes) > 1:
            raise ParityError(f"names= must say fused(…) or summed(…) for {said}")
        name, *steps = entry if isinstance(entry, tuple) else (entry,)
        if callable(name):  # a layout alone: the name stays
            name, steps = said, [name, *steps]
        if not isinstance(name, str):
            raise ParityError(f"names= needs a name for {said}, not {kind_of(name)}")
        entry = Rearrangement(lambda arrays: {name: laid_out(arrays[0], steps)})
    count = sum(int(np.prod(shape)) for shape in shapes.values())
    numbered = list(_cut(np.arange(count), shapes).values())
    try:
        order = entry.place(numbered)
    except ValueError as error:
        given = ", ".join(map(str, shapes.values()))
        raise ParityError(f"names= does not fit {said} of shape {given}: {error}") from error
    placed = np.sort(np.concatenate([value.ravel() for value in order.values()]))
    alike = len({*shapes.values()}) == 1
    if not np.array_equal(placed, np.arange(numbered[0].size if entry.adds and alike else count)):
        raise ParityError(f"names= must give every element of {said} one place, by moving only")
    return Rule(shapes, order, entry.adds)


def _cut(flat: np.ndarray, shapes: Mapping[str, Shape]) -> Arrays:
    """Return the pieces of a flat array, one after the other, in these shapes."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
    pieces = np.split(flat, ends[:-1])
    return {n: piece.reshape(s) for piece, (n, s) in zip(pieces, shapes.items(), strict=True)}


def _letters(order: str) -> tuple[str, str]:
    before, arrow, after = order.partition("->")
    if not arrow or sorted(before) != sorted(after) or len({*before}) != len(before):
        raise ParityError(
            f"{order!r} is no order: write the same letters on both sides, as in 'OIHW->HWIO'"
        )
    return before, after
