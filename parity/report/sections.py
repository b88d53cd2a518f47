"""One network's part of the page, and the pieces it shares with the rest."""

from __future__ import annotations

import math
import re
from html import escape

from parity.networks import STEPS
from parity.report import drawing, numbers
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
    words = (
        f"{tensor.label} ({drawn.where}), shape {numbers.shape(tensor.shape)}, drawn as "
        f"{drawn.layout}. Worst element {list(tensor.index)}: torch "
        f"{numbers.value(tensor.torch_value)}, NumPy {numbers.value(tensor.numpy_value)}, error "
        f"{numbers.magnitude(tensor.error)}, budget {numbers.magnitude(tensor.budget)}."
    )
    if any(math.isinf(cell) for row in drawn.cells for cell in row):
        words += " Red: not a finite number."
    picture = f'<img src="{drawing.png(drawing.heat_map(drawn.cells))}" alt="Its errors">'
    return (
        f'<h3>Where the worst tensor errs</h3><figure class="beside">{picture}'
        f"<figcaption>{escape(words)}</figcaption></figure>"
    )


def _trainings(trainings: list[Training]) -> str:
    shown = [training for training in trainings if training.steps]
    if not shown:
        return ""
    words = []
    for training in shown:
        last = training.steps[-1]
        words.append(
            f"{training.dtype}: loss at step {last.number} torch "
            f"{numbers.value(last.torch_loss)}, NumPy {numbers.value(last.numpy_loss)}."
        )
    picture = f'<img src="{drawing.png(drawing.training(shown))}" alt="Losses and envelopes used">'
    return (
        f"<h3>{STEPS} steps of {escape(shown[0].optimizer)}</h3><figure>{picture}<figcaption>"
        f"{' '.join(words)} Dotted uprights: the rate is halved.</figcaption></figure>"
    )
