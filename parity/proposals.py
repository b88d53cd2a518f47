"""What a map of names could say of parameters that are left over, by shape and order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations, product

from parity.names import Shape

_AXES = {2: "OI", 3: "OIW", 4: "OIHW", 5: "OIDHW"}
#: Common layouts, which square shapes are taken to have.
_LIKELIEST = {3: ["WIO"], 4: ["HWIO", "OHWI"], 5: ["DHWIO", "ODHWI"]}


def proposals(torch: Mapping[str, Shape], other: Mapping[str, Shape]) -> Iterator[str]:
    """Give entries of a map for what is left over on both sides.

    One that nothing fits alone is taken for several of the other side that lie next to each other.
    """
    torch, free = dict(torch), dict(other)
    for name, step in product([*torch], (None, "T")):
        if name in torch and not _fits(torch[name], free):
            turned = {part: _turned(shape, step) for part, shape in free.items()}
            parts, axis = _joined(torch[name], turned)
            if parts:
                yield f'"{name}": split({", ".join([*(_entry(p, step) for p in parts), *axis])})'
                free = {part: shape for part, shape in free.items() if part not in parts}
                del torch[name]
    for name, step in product([*free], (None, "T")):
        if name in free and not _fits(free[name], torch):
            parts, axis = _joined(_turned(free[name], step), torch)
            if parts:
                entry = [f'"{name}"', *(['"T"'] if step else []), *axis]
                yield f"({', '.join(map(_entry, parts))}): fused({', '.join(entry)})"
                torch = {part: shape for part, shape in torch.items() if part not in parts}
                del free[name]
    for name, shape in torch.items():
        likeliest = sorted(free, key=lambda other: other != name)
        fits = ((n, step) for n in likeliest for step in _steps_between(shape, free[n]))
        found, step = next(fits, ("", None))
        if found:
            del free[found]
            yield f'"{name}": {_entry(found, step)}'


def _entry(name: str, step: str | None = None) -> str:
    return f'("{name}", "{step}")' if step else f'"{name}"'


def _turned(shape: Shape, step: str | None) -> Shape:
    return shape[::-1] if step and len(shape) == 2 else shape


def _fits(shape: Shape, others: Mapping[str, Shape]) -> bool:
    return any(sorted(shape) == sorted(other) for other in others.values())


def _joined(whole: Shape, parts: Mapping[str, Shape]) -> tuple[list[str], list[str]]:
    """Return the first parts next to each other that make the whole, and along which axis."""
    for axis, length in enumerate(whole):
        rest = whole[:axis] + whole[axis + 1 :]
        for start in range(len(parts)):
            found, total = list[str](), 0
            for name, shape in list(parts.items())[start:]:
                if len(shape) != len(whole) or shape[:axis] + shape[axis + 1 :] != rest:
                    break
                found, total = [*found, name], total + shape[axis]
                if total == length and len(found) > 1:
                    return found, [f"axis={axis}"] if axis else []
    return [], []


def _steps_between(shape: Shape, other: Shape) -> Iterator[str | None]:
    if shape == other:
        yield None
    axes = _AXES.get(len(shape), "")
    for layout in [*_LIKELIEST.get(len(shape), []), *list(permutations(axes))[1:]]:
        if tuple(shape[axes.index(letter)] for letter in layout) == other:
            yield "T" if axes == "OI" else f"{axes}->{''.join(layout)}"
