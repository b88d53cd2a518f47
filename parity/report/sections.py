"""One network's part of the page, and the pieces it shares with the rest."""

from __future__ import annotations

import math
import re
from html import escape

from parity.networks import STEPS
from parity.report import cases, numbers, svg
from parity.report.figures import HeatMap, Layer, Network, Run, Tensor, Training

_CAMEL = re.compile("(?<=[a-z])(?=[A-Z])")
_JOINT = re.compile("([_=])")


def network(measured: Network) -> str:
    """Return one network's section: runs, layers, heat map and training."""
    head = (
        f'<section class="network" id="{anchor(measured.name)}"><div class="head">'
        f"<h2><code>{breakable(measured.name)}</code></h2>{verdict(measured.passed)}</div>"
    )
    if measured.problem:
        return f"{head}<p>Could not be measured: {escape(measured.problem)}.</p></section>"
    facts = [
        escape(measured.kind),
        f"report {escape(measured.report)}" if measured.report else "",
        f"input {numbers.shape(measured.input)}",
        f"{measured.parameters:,} parameters",
        f"measured in {numbers.seconds(measured.seconds)}",
    ]
    figures = _heat_map(measured.heat_map) if measured.heat_map else ""
    return (
        f'{head}<p class="soft">{" · ".join(filter(None, facts))}</p>{_runs(measured)}'
        f"<h3>Each layer by itself</h3>{''.join(_layers(measured))}"
        f"{figures}{_trainings(measured.trainings)}</section>"
    )


def verdict(passed: bool) -> str:
    """Return the verdict in a word."""
    if passed:
        return '<span class="good">✓ agrees</span>'
    return '<span class="bad">✗ disagrees</span>'


def bar(tensor: Tensor | None) -> str:
    """Return the share of the budget a tensor uses, as text and as a bar."""
    if tensor is None:
        return '<span class="soft">nothing to compare</span>'
    if tensor.note:
        return f'<span class="bad">✗ {escape(tensor.note)}</span>'
    width = 100 * min(tensor.share, 1.0)
    fill = f'<b style="width:{width:.4g}%"></b>' if tensor.share > 0 else ""
    return (
        f'<span class="bar{"" if tensor.passed else " over"}"><span>'
        f'{numbers.share(tensor.share)}</span><i aria-hidden="true">{fill}</i></span>'
    )


def anchor(name: str) -> str:
    """Return a network's name as an id."""
    return "".join(c if c.isalnum() or c == "_" else "-" for c in name).strip("-")


def breakable(name: str) -> str:
    """Return a name as HTML that may break between its parts."""
    return _JOINT.sub(r"\1<wbr>", escape(name)).replace("(", "<wbr>(")


def _runs(measured: Network) -> str:
    rows = []
    for run in measured.runs:
        tensors = run.all_tensors
        worst = max(tensors, key=lambda tensor: tensor.rank)
        alone = "" if any(worst is tensor for tensor in run.tensors) else ", layer alone"
        where = f"{worst.label}{alone}"
        rows.append(_run_row(run.title, run.passed, f"{len(tensors)} tensors", where, bar(worst)))
    for training in measured.trainings:
        step = training.worst
        if step is None:
            words = "", training.verdict, ""
        else:
            words = (
                f"up to step {len(training.steps)}",
                f"{step.worst.label}, step {step.number}",
                bar(step.worst),
            )
        rows.append(_run_row(f"{training.dtype}, optimizer steps", training.passed, *words))
    return (
        '<table><thead><tr><th scope="col">Run</th><th scope="col">Worst tensor</th>'
        '<th scope="col">Budget used</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _run_row(title: str, passed: bool, count: str, worst: str, used: str) -> str:
    return (
        f'<tr><th scope="row">{escape(title)}<span class="small">{verdict(passed)} {count}</span>'
        f"</th><td>{escape(worst)}</td><td>{used}</td></tr>"
    )


def _layers(measured: Network) -> list[str]:
    """Return the layer table of each run; only the first is open, and the first that failed."""
    first, *others = measured.runs
    tables = [_layer_table(first)]
    failed = next((run for run in measured.runs if not run.passed), None)
    for run in others:
        state = " open" if run is failed else ""
        tables.append(
            f"<details{state}><summary>{run.title}: {verdict(run.passed)}</summary>"
            f"{_layer_table(run)}</details>"
        )
    return tables


def _layer_table(run: Run) -> str:
    rows = "".join(_layer_row(layer, run.dtype) for layer in run.layers)
    return (
        f'<table class="layers"><caption>{run.title}. Largest error against the float64 '
        "reference, and the share of the budget it uses.</caption>"
        '<thead><tr><th scope="col">Layer</th>'
        '<th scope="col">Forward</th><th scope="col">Backward</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _layer_row(layer: Layer, dtype: str) -> str:
    sign = "" if layer.passed else '<span class="bad"> ✗ wrong</span>'
    output = f" · {numbers.shape(layer.output)}" if layer.output else ""
    return (
        f'<tr><th scope="row"><code>{escape(layer.name)}</code>{sign}'
        f'<span class="small">{_CAMEL.sub("<wbr>", escape(layer.kind))}{output}</span></th>'
        f"<td>{_errors(layer.forward, dtype)}</td><td>{_errors(layer.backward, dtype)}</td></tr>"
    )


def _errors(tensor: Tensor | None, dtype: str) -> str:
    if tensor is None or tensor.note:
        return bar(tensor)
    if tensor.error == 0 and not tensor.torch_error:
        return '<span class="soft">exact</span>'
    sides = [f"NumPy {numbers.magnitude(tensor.error)}"]
    if dtype == "float32":
        sides.append(f"torch {numbers.magnitude(tensor.torch_error)}")
    words = " ".join(f'<span class="whole">{side}</span>' for side in sides)
    name = f'<span class="part">{escape(tensor.tensor)}</span>'
    return f'{bar(tensor)}<span class="small">{name} {words}</span>'


def _heat_map(drawn: HeatMap) -> str:
    tensor = drawn.tensor
    name = f"{tensor.label} ({drawn.where})"
    largest = numbers.magnitude(tensor.error)
    words = (
        f"{name}, shape {numbers.shape(tensor.shape)}, drawn as {drawn.layout}. Worst element "
        f"{list(tensor.index)}: torch {numbers.value(tensor.torch_value)}, NumPy "
        f"{numbers.value(tensor.numpy_value)}, error {largest}, budget "
        f"{numbers.magnitude(tensor.budget)}."
    )
    infinite = any(math.isinf(cell) for row in drawn.cells for cell in row)
    red = " Red: not a finite number." if infinite else ""
    picture = svg.heat_map(drawn.cells, f"Error of {name}", words)
    return (
        f'<h3>Where the worst tensor errs</h3><figure class="beside">{picture}'
        f"<figcaption>{escape(words)}<br>0{svg.heat_key()}{largest}{red}</figcaption></figure>"
    )


def _trainings(trainings: list[Training]) -> str:
    shown = [training for training in trainings if training.steps]
    if not shown:
        return ""
    single, last = shown[0], shown[0].steps[-1]
    losses = svg.plot(
        [
            svg.Series("torch", [step.torch_loss for step in single.steps]),
            svg.Series("numpy", [step.numpy_loss for step in single.steps]),
        ],
        STEPS,
        f"Training loss of both sides in {single.dtype}",
        f"After {last.number} steps torch {last.torch_loss:.6g}, NumPy {last.numpy_loss:.6g}.",
        marked=cases.RATE_CHANGES,
    )
    styles = {"float32": "single", "float64": "double"}
    worst = [training.worst for training in shown]
    shares = svg.plot(
        [
            svg.Series(styles[t.dtype], [step.worst.share for step in t.steps], marks=True)
            for t in shown
        ],
        STEPS,
        "Largest share of the envelope used at each step",
        ", ".join(
            f"{training.dtype} at most {numbers.share(step.worst.share)}"
            for training, step in zip(shown, worst, strict=True)
            if step is not None
        ),
        shares=True,
        marked=cases.RATE_CHANGES,
    )
    legend = "".join(_legend(styles[t.dtype], t.dtype) for t in shown)
    return (
        f"<h3>{STEPS} steps of {escape(single.optimizer)}</h3><figure>"
        f'<div class="figures"><div><div class="legend"><span>Loss, {single.dtype}</span>'
        f"{_legend('torch', 'torch')}{_legend('numpy', 'NumPy')}</div>{losses}</div>"
        f'<div><div class="legend"><span>Envelope used</span>{legend}'
        f"{_legend('limit', 'limit')}</div>{shares}</div></div><figcaption>{_last_losses(shown)}"
        " Dotted uprights: the rate is halved.</figcaption></figure>"
    )


def _last_losses(trainings: list[Training]) -> str:
    words = []
    for training in trainings:
        last = training.steps[-1]
        words.append(
            f"{training.dtype}: loss at step {last.number} torch "
            f"{numbers.value(last.torch_loss)}, NumPy {numbers.value(last.numpy_loss)}."
        )
    return " ".join(words)


def _legend(style: str, label: str) -> str:
    line = f'<g class="{style}"><path d="M1 6H23"/>'
    line += '<circle cx="12" cy="6" r="2"/></g>' if style in ("single", "double") else "</g>"
    if style == "limit":
        line = '<path class="limit" d="M1 6H23"/>'
    return (
        f'<span><svg viewBox="0 0 24 12" width="24" height="12" aria-hidden="true">{line}</svg>'
        f"{escape(label)}</span>"
    )
