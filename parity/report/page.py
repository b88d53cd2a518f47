"""The report as one HTML page that needs nothing but itself."""

from __future__ import annotations

import re

from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape

from parity import networks
from parity.report import drawing
from parity.report.measure import Network, Report, Training


def page(report: Report) -> str:
    """Return the HTML document."""
    made = Environment(
        loader=PackageLoader("parity", "report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"share": share, "anchor": _anchor, "breakable": _breakable}
    made.tests["gradient"] = lambda tensor: tensor.startswith("gradient")
    template = made.get_template("page.html")
    headline = _headline(report.networks)
    text = template.render(report=report, headline=headline, picture=_picture, numbers=networks)
    return text.lstrip() + "\n"


def share(value: float) -> str:
    """Return the share of a budget: per cent up to all of it, a multiple above."""
    return f"{100 * value:.3g} %" if value <= 1 else f"{value:.5g} times"


def _headline(measured: list[Network]) -> str:
    wrong = [network for network in measured if not network.passed]
    if not wrong:
        return f"{measured[0].name} agrees" if len(measured) == 1 else "All networks agree"
    more = f" and {len(wrong) - 1} more" if wrong[1:] else ""
    return f"{wrong[0].culprit or 'something'} is wrong in {wrong[0].name}{more}"


def _picture(shown: list[Training]) -> str:
    return drawing.png(drawing.training(shown))


def _anchor(name: str) -> str:
    return re.sub(r"\W", "-", name).strip("-")


def _breakable(name: str) -> Markup:
    """Return a network's name as HTML that may break between its parts."""
    return Markup(re.sub("([_=(])", r"\1<wbr>", str(escape(name))))
