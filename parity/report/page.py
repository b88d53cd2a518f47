"""The report as one HTML page that needs nothing but itself."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from parity.comparison import LayerProbe
from parity.networks import BATCH, EPOCH_STEPS, SAMPLES, STEP_SIZE, STEPS
from parity.report import drawing
from parity.report.measure import Network, Report, Run
from parity.tolerance import TensorCheck

_METHOD = f"""
<p>Both sides start from the same weights and compute on the same {SAMPLES} random images,
with cross-entropy as the loss and the same dropout masks. The torch module in float64 is the
reference. A NumPy tensor agrees when its largest error against it is at most four times torch's
own float32 error, or within the rounding that the reference itself shows when every layer's
operands are moved by what rounding can move them. That limit is the budget: it is measured for
every tensor and set by hand for none. In float64, where torch is the reference, the measured
rounding is all of it. Each layer is then run alone, on the input and the upstream gradient that
torch gave it, so that a layer that is wrong is told apart from one that inherits an error.</p>
<p>In training both sides take {STEPS} steps on the same batches of {BATCH}, with the
optimizer of the network's report and a rate halved every
{EPOCH_STEPS * STEP_SIZE} steps. Loss, rate, weights, the optimizer's state and buffers
are compared after each step. The envelope, the budget of a step, also holds how far
float64 twins stray whose weights are moved by one unit in the last place, because
training amplifies rounding. Errors are absolute and have no unit.</p>
"""


def page(report: Report) -> str:
    """Return the HTML document."""
    style = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
    headline = escape(_headline(report.networks))
    terms = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in _facts(report).items())
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Parity report: {headline}</title>
<style>
{style}</style>
</head>
<body>
<main>
<header>
<h1>{headline}</h1>
<p class="soft">Each network is written twice, in PyTorch and in NumPy. This page holds the two
against each other.</p>
</header>
{"".join(_alarm(network) for network in report.networks if not network.passed)}
{_summary(report)}
{"".join(_section(network) for network in report.networks)}
<section class="network"><h2>Method</h2>{_METHOD}</section>
<section class="network"><h2>Environment</h2><dl>{terms}</dl></section>
</main>
</body>
</html>
"""


def share(value: float) -> str:
    """Return the share of a budget: per cent up to all of it, a multiple above."""
    return f"{100 * value:.3g} %" if value <= 1 else f"{value:.5g} times"


def _headline(networks: list[Network]) -> str:
    wrong = [network for network in networks if not network.passed]
    if not wrong:
        return f"{networks[0].name} agrees" if len(networks) == 1 else "All networks agree"
    more = f" and {len(wrong) - 1} more" if wrong[1:] else ""
    return f"{wrong[0].culprit or 'something'} is wrong in {wrong[0].name}{more}"


def _facts(report: Report) -> dict[str, str]:
    return {**report.environment, "date": report.date, "measured in": f"{report.seconds:.0f} s"}


def _alarm(network: Network) -> str:
    lines = [escape(line) for line in network.verdict.splitlines()]
    if network.reproduction:
        lines.append(
            f"Run it again: <code>python -m parity replay {escape(network.reproduction)}</code>"
        )
    said = "".join(f"<p>{line}</p>" for line in lines)
    return f'<section class="alarm"><h2>✗ <code>{_name(network.name)}</code></h2>{said}</section>'


def _summary(report: Report) -> str:
    rows = []
    for network in report.networks:
        head = f'<a href="#{_anchor(network.name)}"><code>{_name(network.name)}</code></a>'
        cells = [head + _verdict(network.passed), escape(network.problem), "", ""]
        if network.closest is not None:
            run, tensor, check = network.closest
            steps = [check for training in network.trainings for check in training.worst]
            worst = max(steps, key=lambda step: step.rank, default=None)
            cells[1:] = [_small(tensor, run.title), _bar(check), _bar(worst)]
        rows.append(cells)
    return _table(["Network", "Worst tensor", "Budget used", f"{STEPS} steps"], rows)


def _section(network: Network) -> str:
    head = (
        f'<section class="network" id="{_anchor(network.name)}"><div class="head">'
        f"<h2><code>{_name(network.name)}</code></h2>{_verdict(network.passed)}</div>"
    )
    if network.problem:
        return f"{head}<p>Could not be measured: {escape(network.problem)}.</p></section>"
    facts = f"{escape(network.kind)}, {network.parameters:,} parameters"
    opened = next((run for run in network.runs if run.verdict), network.runs[0])
    runs = "".join(_run(run, run is opened) for run in network.runs)
    return f'{head}<p class="soft">{facts}</p>{runs}{_trainings(network)}</section>'


def _run(run: Run, opened: bool) -> str:
    """Return a run's layers, each with the largest errors of its forward and backward pass."""
    rows = []
    for probe in run.layers:
        checks = probe.comparison.checks
        backward = [check for check in checks if check.tensor.startswith("gradient")]
        forward = [check for check in checks if check not in backward]
        rows.append([_layer(probe), *map(_worst, (forward, backward))])
    tensor, check = run.closest
    return (
        f"<details{' open' if opened else ''}><summary>{run.title}: {_verdict(not run.verdict)}, "
        f"budget used: {share(check.share)} ({escape(tensor)})</summary>"
        f"{_table(['Layer', 'Forward', 'Backward'], rows)}</details>"
    )


def _layer(probe: LayerProbe) -> str:
    sign = "" if probe.comparison.passed else ' <span class="bad">✗ wrong</span>'
    return f"<code>{escape(probe.layer)}</code>{sign}" + _small("", probe.kind)


def _worst(checks: list[TensorCheck]) -> str:
    check = max(checks, key=lambda check: check.rank, default=None)
    if check is None or check.note:
        return _bar(check)
    return _bar(check) + _small("", f"{check.tensor}, error {check.error:.2g}")


def _trainings(network: Network) -> str:
    shown = [training for training in network.trainings if training.losses]
    if not shown:
        return ""
    last = [(training.dtype, len(training.losses), training.losses[-1]) for training in shown]
    words = [
        f"{dtype}: loss at step {step} torch {loss.torch_value:.9g}, NumPy {loss.numpy_value:.9g}."
        for dtype, step, loss in last
    ]
    picture = f'<img src="{drawing.png(drawing.training(shown))}" alt="Losses and envelopes used">'
    return (
        f"<h3>{STEPS} steps of {escape(shown[0].optimizer)}</h3><figure>{picture}<figcaption>"
        f"{' '.join(words)} Dotted uprights: the rate is halved.</figcaption></figure>"
    )


def _table(header: list[str], rows: list[list[str]]) -> str:
    """Return a table of HTML cells, of which the first of each row is its heading."""
    head = "".join(f'<th scope="col">{name}</th>' for name in header)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in others)}</tr>'
        for first, *others in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _bar(check: TensorCheck | None) -> str:
    """Return the share of the budget that a tensor uses, as text and as a bar."""
    if check is None:
        return '<span class="soft">nothing to compare</span>'
    if check.note:
        return f'<span class="bad">✗ {escape(check.note)}</span>'
    fill = f'<b style="width:{100 * min(check.share, 1):.4g}%"></b>' if check.share else ""
    return (
        f'<span class="bar{"" if check.passed else " over"}"><span>{share(check.share)}</span>'
        f'<i aria-hidden="true">{fill}</i></span>'
    )


def _small(text: str, below: str) -> str:
    return f'{escape(text)}<span class="small">{escape(below)}</span>'


def _verdict(passed: bool) -> str:
    word, sign = ("good", "✓ agrees") if passed else ("bad", "✗ disagrees")
    return f' <span class="{word}">{sign}</span>'


def _anchor(name: str) -> str:
    return re.sub(r"\W", "-", name).strip("-")


def _name(name: str) -> str:
    """Return a network's name as HTML that may break between its parts."""
    return re.sub("([_=(])", r"\1<wbr>", escape(name))
