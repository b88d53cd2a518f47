"""Results as Markdown tables, several processors side by side.

Everything here takes what the JSON files hold, so that a table of a measurement just made and one
of files from elsewhere are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from benchmarks.harness import Statistics, ratios

Content = dict[str, Any]
#: What a row is called.
Labels = tuple[str, ...]
#: And its samples by implementation.
Row = tuple[Labels, dict[str, Any]]

#: PyTorch's settings; the faster one is what NumPy is compared with.
PEERS = ("torch", "torch-kept")
COMPILED = "torch-compiled"
LIBRARIES = {"mygrad": "MyGrad", "jax": "JAX, jitted"}
SERIES = {
    "workers": "processes or threads",
    "batch": "batch",
    "channels": "channels",
    "size": "image size",
}


def sections(contents: Sequence[Content]) -> dict[str, str]:
    """Return the tables that these files can fill, by name."""
    of = {
        kind: [c for c in contents if c["benchmark"] == kind]
        for kind in ("step", "scaling", "run", "epoch", "soak")
    }
    found = {"measured": "\n".join(f"* {heading(content)}" for content in contents)}
    for kind, name in (("step", "network (batch)"), ("inference", "network")):
        found[kind] = comparison((name, "cores"), of["step"], partial(_steps, kind=kind))
    found["libraries"] = _libraries(of["step"])
    for series, name in SERIES.items():
        found[series] = comparison((name,), of["scaling"], partial(_points, series=series))
    for name, what, unit in (("run", "seconds", "s"), ("memory", "peaks", "MiB")):
        rows = partial(_runs, what=what)
        found[name] = comparison(("network (batch)",), of["run"], rows, unit)
    found["epoch"] = "\n\n".join(map(_epochs, of["epoch"]))
    found["soak"] = "\n\n".join(map(_soak, of["soak"]))
    return {name: text for name, text in found.items() if text}


def comparison(
    header: Sequence[str],
    contents: Sequence[Content],
    rows_of: Callable[[Content], Iterable[Row]],
    unit: str = "ms",
) -> str:
    """Return NumPy's figures beside those of PyTorch, in the faster of its settings.

    Args:
        header: of the columns that say what a row is.
        contents: the files; each has its own columns.
        rows_of: gives a file's rows; their union is shown.
        unit: of what is shown; the samples are in seconds where it is "ms".
    """
    columns = []
    for content in contents:
        found = dict(rows_of(content))
        compiled = any(COMPILED in samples for samples in found.values())
        head = [
            f"{processor(content['environment'])}: NumPy, {unit}",
            f"PyTorch, {unit}",
            "NumPy ÷ PyTorch (range)",
        ]
        head += ["÷ compiled (range)"] * compiled
        cells = {labels: _compared(one, unit, compiled) for labels, one in found.items()}
        columns.append((head, cells))
    return beside(header, columns)


def beside(
    header: Sequence[str], columns: Sequence[tuple[list[str], dict[Labels, list[str]]]]
) -> str:
    """Return a table of several files' columns, (header, cells by row); what one lacks is "–"."""
    names = dict.fromkeys(labels for _, cells in columns for labels in cells)
    rows = [
        [
            *labels,
            *(cell for head, cells in columns for cell in cells.get(labels, ["–"] * len(head))),
        ]
        for labels in names
    ]
    return table([*header, *(name for head, _ in columns for name in head)], rows)


def _compared(samples: dict[str, Any], unit: str, compiled: bool) -> list[str]:
    show = in_milliseconds if unit == "ms" else plain
    peer = faster(samples)
    cells = [show(samples[name]["median"]) for name in ("numpy", peer)]
    cells.append(ratio(compared(samples, "numpy", peer)))
    if compiled:
        known = COMPILED in samples
        cells.append(ratio(compared(samples, "numpy", COMPILED)) if known else "–")
    return cells


def faster(samples: dict[str, Any]) -> str:
    """Return the faster of PyTorch's settings."""
    return min((p for p in PEERS if p in samples), key=lambda name: samples[name]["median"])


def compared(samples: dict[str, Any], name: str, other: str) -> Statistics:
    """Return the summary of one's figure over the other's, round by round."""
    return ratios(samples[name]["values"], samples[other]["values"])


def _network(result: dict[str, Any]) -> str:
    return f"`{result['network']}` ({result['batch']})"


def _steps(content: Content, kind: str) -> Iterable[Row]:
    for result in content["results"]:
        if result["kind"] == kind:
            name = _network(result) if kind == "step" else f"`{result['network']}`"
            yield (name, str(result["threads"])), result["seconds"]


def points(content: Content, series: str) -> list[dict[str, Any]]:
    """Return the measurements at each value of what grows."""
    return [point for point in content["points"] if point["series"] == series]


def _points(content: Content, series: str) -> Iterable[Row]:
    for point in points(content, series):
        over = series == "workers" and point["value"] > content["environment"]["cores"]
        yield (f"{point['value']}{' (more than cores)' if over else ''}",), point["seconds"]


def _runs(content: Content, what: str) -> Iterable[Row]:
    for result in content["results"]:
        if what in result:
            yield (_network(result),), result[what]
    if what == "peaks":
        imports = content["imports"].items()
        yield ("imports alone",), {name: asdict(Statistics.of([v])) for name, v in imports}


def _libraries(contents: Sequence[Content]) -> str:
    columns = []
    for content in contents:
        cells: dict[Labels, list[str]] = {
            (words, str(result["threads"])): [ratio(compared(result["seconds"], name, "numpy"))]
            for name, words in LIBRARIES.items()
            for result in content["results"]
            if name in result["seconds"]
        }
        columns.append(([f"{processor(content['environment'])}: ÷ NumPy (range)"], cells))
    return beside(("library", "cores"), columns)


def _epochs(content: Content) -> str:
    """Return the loops of one file, and below them what was not measured, and why."""
    recipe, rows = content["settings"]["recipe"], []
    for result in content["results"]:
        cells = [f"{result['line']} ({result['device']})", plain(result["seconds"]["median"])]
        share = result["ratio"]
        cells.append(ratio(Statistics.of(share["values"])) if share else "–")
        rows.append([*cells, f"{result['start_up']:.2f}"])
    header = [
        f"{processor(content['environment'])}, {recipe}",
        "s per epoch",
        "÷ first (range)",
        "start-up, s",
    ]
    by_reason: dict[str, list[str]] = {}
    for key, reason in content["not_measured"].items():
        by_reason.setdefault(reason, []).append(key)
    missing = [f"* {reason}: {', '.join(keys)}" for reason, keys in by_reason.items()]
    verdicts = [f"* parity, {key}: {words}" for key, words in content["parity"].items()]
    return "\n".join([table(header, rows), "", *missing, *verdicts])


def _soak(content: Content) -> str:
    rows = []
    for name, run in content["runs"].items():
        samples = run["samples"]
        (_, before, files), (steps, after, last) = samples[len(samples) // 5], samples[-1]
        memory = f"{before:.1f}", f"{after:.1f}", f"{after - before:+.1f}"
        rows.append(
            [name, f"{steps:,}", f"{run['seconds'] / 60:.1f}", *memory, f"{files} → {last}"]
        )
    header = ["backend", "steps", "minutes", "MiB after 1/5", "MiB at the end", "growth", "files"]
    return table(header, rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with aligned columns, or nothing without rows."""
    if not rows:
        return ""
    lines = [list(header), *map(list, rows)]
    assert all(len(line) == len(header) for line in lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(map(str.ljust, line, widths))} |" for line in lines)


def in_milliseconds(seconds: float) -> str:
    """Return a time in ms with about three digits, without its unit."""
    return plain(1e3 * seconds)


def ratio(sample: Statistics) -> str:
    """Return "median (least to greatest)" of a ratio."""
    digits = 2 if sample.median < 10 else 1
    return f"{sample.median:.{digits}f} ({sample.least:.{digits}f}–{sample.greatest:.{digits}f})"


def plain(value: float) -> str:
    """Return a number with about three digits."""
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def processor(record: dict[str, Any]) -> str:
    """Return the processor's name without the ornaments, from the environment's record."""
    name = record["processor"].replace("(R)", "").replace("(TM)", "")
    return " ".join(name.removesuffix("Processor").split())


def heading(content: Content) -> str:
    """Return in a line what was measured, and where."""
    numpy = content["settings"].get("numpy")
    cores = f"; NumPy on several cores: {numpy}" if numpy else ""
    return f"{content['benchmark']}: {place(content['environment'])}{cores}"


def place(record: dict[str, Any]) -> str:
    """Return the environment's record in a line."""
    known = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    library = f"; NumPy's BLAS: {record['blas']}" if "blas" in record else ""
    others = record.get("cores_used_by_others")
    busy = f" ({others} used by others)" if others is not None else ""
    device = record.get("cuda")
    cuda = f"; {device['name']}, CUDA {device['cuda']}" if device else ""
    return (
        f"{processor(record)}, {record['cores']} cores{busy}{cuda}, "
        f"{record['date'][:10]}; Python {record['python']}, {known}{library}"
    )


def left_out(lacking: Mapping[str, str]) -> list[str]:
    """Return lines on the sets of kernels that could not be had, by name."""
    lines = [f"- {name}: {reason}" for name, reason in lacking.items()]
    head = ["", "Left out, because the libraries here do not offer these kernels:"]
    return [*head, *lines] if lines else []
