"""The report as one HTML page that needs nothing but itself."""

from __future__ import annotations

from html import escape
from pathlib import Path

from parity.networks import BATCH, EPOCH_STEPS, SAMPLES, STEP_SIZE, STEPS
from parity.report import numbers, sections
from parity.report.figures import Network, Report
from parity.report.measure import TWINS

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
{TWINS} float64 twins stray whose weights are moved by one unit in the last place, because
training amplifies rounding. Errors are absolute and have no unit.</p>
"""


def page(report: Report) -> str:
    """Return the HTML document."""
    style = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
    headline = _headline(report)
    date = report.date.replace("T", " ").removesuffix("+00:00")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Parity report: {escape(headline)}</title>
<style>
{style}</style>
</head>
<body>
<main>
<header>
<h1>{escape(headline)}</h1>
<p class="soft">Each network is written twice, in PyTorch and in NumPy. This page holds the two
against each other. Measured {escape(date)} UTC in {numbers.seconds(report.seconds)}, seed
{report.seed}.</p>
</header>
{"".join(_alarm(network) for network in report.networks if not network.passed)}
{_summary(report)}
{"".join(sections.network(network) for network in report.networks)}
<section class="network"><h2>Method</h2>{_METHOD}</section>
<section class="network"><h2>Environment</h2>{_environment(report)}</section>
</main>
</body>
</html>
"""


def _headline(report: Report) -> str:
    count = len(report.networks)
    wrong = [network for network in report.networks if not network.passed]
    if not wrong:
        return f"{report.networks[0].name} agrees" if count == 1 else f"All {count} networks agree"
    if wrong[0].culprit:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        return f"{wrong[0].culprit} is wrong in {wrong[0].name}{more}"
    return (
        f"{len(wrong)} of {count} networks disagree" if count > 1 else f"{wrong[0].name} disagrees"
    )


def _alarm(network: Network) -> str:
    name = f"<code>{sections.breakable(network.name)}</code>"
    culprit = f"<code>{escape(network.culprit)}</code> in " if network.culprit else ""
    lines = "".join(f"<p>{escape(line)}</p>" for line in network.verdict.splitlines())
    again = ""
    if network.reproduction:
        command = f"python -m parity replay {network.reproduction}"
        again = f"<p>Run it again: <code>{escape(command)}</code></p>"
    return f'<section class="alarm"><h2>✗ {culprit}{name}</h2>{lines}{again}</section>'


def _summary(report: Report) -> str:
    rows = "".join(_summary_row(network) for network in report.networks)
    return (
        "<table><caption>The worst tensor of each network, with the share of its budget, and the "
        f"worst over {STEPS} steps of training. Above 100 % is a disagreement.</caption>"
        '<thead><tr><th scope="col">Network</th><th scope="col">Worst tensor</th>'
        f'<th scope="col">Budget used</th><th scope="col">{STEPS} steps</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _summary_row(network: Network) -> str:
    stem, _, options = network.name.removesuffix(")").partition("(")
    link = f'<a href="#{sections.anchor(network.name)}">{sections.breakable(stem)}</a>'
    small = f'<span class="small">{sections.breakable(options)}</span>' if options else "<br>"
    head = f'<tr><th scope="row"><code>{link}</code>{small}{sections.verdict(network.passed)}</th>'
    if network.closest is None:
        return f'{head}<td colspan="3">{escape(network.verdict)}</td></tr>'
    run, tensor = network.closest
    steps = [training.worst for training in network.trainings]
    worst = max((step.worst for step in steps if step), key=lambda t: t.rank, default=None)
    return (
        f'{head}<td>{escape(tensor.label)}<span class="small">{escape(run.title)}</span></td>'
        f"<td>{sections.bar(tensor)}</td><td>{sections.bar(worst)}</td></tr>"
    )


def _environment(report: Report) -> str:
    facts = {**report.environment, "date": f"{report.date} (UTC)", "seed": str(report.seed)}
    terms = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items())
    return f"<dl>{terms}</dl>"
