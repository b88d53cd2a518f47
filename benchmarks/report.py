"""Results as Markdown tables, several processors side by side.

Everything here takes what the JSON files hold, so that a table of a measurement just made and one
of files from elsewhere are the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from statistics import median
from typing import Any

Content = dict[str, Any]
#: What a row is called.
Labels = tuple[str, ...]
#: And its samples by implementation.
Row = tuple[Labels, dict[str, Any]]

#: PyTorch's settings; the faster one is what NumPy is compared with.
PEERS = ("torch", "torch-kept")
#: What else NumPy may stand beside, and the head of its column.
BESIDE = {"torch-compiled": "÷ compiled (range)", "numpy-alone": "÷ one process (range)"}
LIBRARIES = {"mygrad": "MyGrad", "jax": "JAX, jitted"}
SERIES = {"workers": "processes or threads", "batch": "batch"}


def sections(contents: Sequence[Content]) -> dict[str, str]:
    """Return the tables that these files can fill, by name."""
    of = {
        kind: [c for c in contents if c["benchmark"] == kind]
        for kind in ("step", "scaling", "run", *OTHERS)
    }
    found = {"measured": "\n".join(f"* {heading(content)}" for content in contents)}
    held = [content for content in of["step"] if _held(content)]
    free = [content for content in of["step"] if not _held(content)]
    for kind, name in (("step", "network (batch)"), ("inference", "network")):
        for title, files in ((kind, free), (f"{kind}, held back", held)):
            found[title] = comparison((name, "cores"), files, partial(_steps, kind=kind))
    found["libraries"] = _libraries(free)
    for series, name in SERIES.items():
        found[series] = comparison((name,), of["scaling"], partial(_points, series=series))
    for name, what, unit in (("run", "seconds", "s"), ("memory", "peaks", "MiB")):
        rows = partial(_runs, what=what)
        found[name] = comparison(("network (batch)",), of["run"], rows, unit)
    for kind, one in OTHERS.items():
        found[kind] = "\n\n".join(map(one, of[kind]))
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
        if not found:
            continue
        others = [name for name in BESIDE if any(name in row for row in found.values())]
        head = [
            f"{processor(content['environment'])}: NumPy, {unit}",
            f"PyTorch, {unit}",
            "NumPy ÷ PyTorch (range)",
            *(BESIDE[name] for name in others),
        ]
        cells = {labels: _compared(one, unit, others) for labels, one in found.items()}
        columns.append((head, cells))
    return beside(header, columns)


def beside(
    header: Sequence[str], columns: Sequence[tuple[list[str], dict[Labels, list[str]]]]
) -> str:
    """Return a table of several files' columns, (header, cells by row); what one lacks is "–"."""
    names = sorted(dict.fromkeys(labels for _, cells in columns for labels in cells), key=_number)
    rows = [
        [
            *labels,
            *(cell for head, cells in columns for cell in cells.get(labels, ["–"] * len(head))),
        ]
        for labels in names
    ]
    return table([*header, *(name for head, _ in columns for name in head)], rows)


def _number(labels: Labels) -> int:
    """Return what a row's name begins with, so that numbers from several files are in order."""
    found = re.match(r"\d+", labels[0])
    return int(found[0]) if found else 0


def _compared(found: dict[str, Any], unit: str, others: Sequence[str]) -> list[str]:
    scale = 1e3 if unit == "ms" else 1
    peer = faster(found)
    cells = [plain(scale * median(found[name]["values"])) for name in ("numpy", peer)]
    return cells + [
        ratio(found, "numpy", name) if name in found else "–" for name in (peer, *others)
    ]


def faster(found: dict[str, Any]) -> str:
    """Return the faster of PyTorch's settings."""
    return min((p for p in PEERS if p in found), key=lambda name: median(found[name]["values"]))


def _network(result: dict[str, Any]) -> str:
    return f"`{result['network']}` ({result['batch']})"


def _steps(content: Content, kind: str) -> Iterable[Row]:
    for result in content["results"]:
        if result["kind"] == kind:
            name = _network(result) if kind == "step" else f"`{result['network']}`"
            yield (name, str(result["threads"])), result["seconds"]


def _points(content: Content, series: str) -> Iterable[Row]:
    for point in content["points"]:
        if point["series"] == series:
            over = series == "workers" and point["value"] > content["environment"]["cores"]
            yield (f"{point['value']}{' (more than cores)' if over else ''}",), point["seconds"]


def _runs(content: Content, what: str) -> Iterable[Row]:
    for result in content["results"]:
        if what in result:
            yield (_network(result),), result[what]
    if what == "peaks":
        imports = content["imports"].items()
        yield ("imports alone",), {name: {"values": [value]} for name, value in imports}


def _libraries(contents: Sequence[Content]) -> str:
    columns = []
    for content in contents:
        cells: dict[Labels, list[str]] = {
            (words, str(result["threads"])): [ratio(result["seconds"], name, "numpy")]
            for name, words in LIBRARIES.items()
            for result in content["results"]
            if name in result["seconds"]
        }
        columns.append(([f"{processor(content['environment'])}: ÷ NumPy (range)"], cells))
    return beside(("library", "cores"), columns)


def _epochs(content: Content) -> str:
    """Return the loops of one file, and below them what was not measured, and why."""
    name, recipe = processor(content["environment"]), content["settings"]["recipe"]
    header = [f"{name}, {recipe}", "s per epoch", "÷ first (range)", "start-up, s"]
    first: dict[str, Any] = {}
    rows = []
    for result in content["results"]:
        line, device, seconds = (result[key] for key in ("line", "device", "seconds"))
        pair = {"this": seconds, "first": first.setdefault(device, seconds)}
        times = plain(median(seconds["values"])), ratio(pair, "this", "first")
        rows.append([f"{line} ({device})", *times, f"{result['start_up']:.2f}"])
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


def ratio(found: dict[str, Any], name: str, other: str) -> str:
    """Return one's figure over the other's, round by round: "median (least to greatest)"."""
    pairs = zip(found[name]["values"], found[other]["values"], strict=True)
    shares = [mine / theirs for mine, theirs in pairs]
    middle = median(shares)
    digits = 2 if middle < 10 else 1
    return f"{middle:.{digits}f} ({min(shares):.{digits}f}–{max(shares):.{digits}f})"


def plain(value: float) -> str:
    """Return a number with about three digits."""
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def processor(record: dict[str, Any]) -> str:
    """Return the processor's name without the ornaments, from the environment's record."""
    name = record["processor"].replace("(R)", "").replace("(TM)", "")
    return " ".join(name.removesuffix("Processor").split())


def _held(content: Content) -> bool:
    """Return whether the libraries were kept from some of the processor's instructions."""
    return "ONEDNN_MAX_CPU_ISA" in content["environment"].get("variables", ())


def heading(content: Content) -> str:
    """Return in a line what was measured, and where."""
    record, numpy = content["environment"], content.get("settings", {}).get("numpy")
    cores = f"; NumPy on several cores: {numpy}" if numpy else ""
    known = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    library = f"; NumPy's BLAS: {record['blas']}" if "blas" in record else ""
    others = record.get("cores_used_by_others")
    busy = f" ({others} used by others)" if others is not None else ""
    if _held(content):
        library += f"; held back by {', '.join(f'`{k}`' for k in record['variables'])}"
    device = record.get("cuda")
    cuda = f"; {device['name']}, CUDA {device['cuda']}" if device else ""
    return (
        f"{content['benchmark']}: {processor(record)}, {record['cores']} cores{busy}{cuda}, "
        f"{record['date'][:10]}; Python {record['python']}, {known}{library}{cores}"
    )


def _curves(content: Content) -> str:
    """Return the largest difference in loss by network and set of kernels."""
    results, settings = content["results"], content["settings"]
    models = list(next(iter(results.values()), ()))
    rows = [[name, *(f"{row[model]:.1e}" for model in models)] for name, row in results.items()]
    largest = (max(row[model] for row in results.values()) for model in models)
    rows.append(["largest", *(f"{value:.1e}" for value in largest)])
    return "\n".join(
        [
            f"Largest difference between the backends' training and test losses over "
            f"{settings['epochs']} epochs of {settings['data']}, seed {settings['seed']}:",
            "",
            table(["kernels", *models], rows),
            *_lacking(content),
        ]
    )


def _trajectories(content: Content) -> str:
    """Return the largest share of the envelope, by network and set, and what went wrong."""
    results = content["results"]
    rows = []
    for network in next(iter(results.values()), {"shares": ()})["shares"]:
        shares = [answer["shares"][network] for answer in results.values()]
        rows.append([network, *(f"{share:.2f}" for share in [*shares, max(shares)])])

    def listed(what: str) -> list[str]:
        return [f"- {name}: {each}" for name, found in results.items() for each in found[what]]

    alarms, survivors = listed("alarms"), listed("survivors")
    planted = sum(answer["planted"] for answer in results.values())
    lines = [
        table(["network", *results, "all"], rows),
        "",
        f"{content['seeds']} seeds, each in float32 and float64: {len(alarms)} false alarms",
        *alarms,
    ]
    if planted:
        lines += [f"{planted} faults planted in all: {len(survivors)} survivors", *survivors]
    return "\n".join(lines + _lacking(content))


def _lacking(content: Content) -> list[str]:
    """Return lines on the sets of kernels that could not be had."""
    lines = [f"- {name}: {reason}" for name, reason in content["lacking"].items()]
    head = ["", "Left out, because the libraries here do not offer these kernels:"]
    return [*head, *lines] if lines else []


#: Tables of one file each.
OTHERS: dict[str, Callable[[Content], str]] = {
    "epoch": _epochs,
    "soak": _soak,
    "curves": _curves,
    "trajectories": _trajectories,
}
