"""The page: self-contained, well formed, complete, and the culprit first."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from parity.networks import network_cases
from parity.report.page import page

VOID = {"meta", "br", "wbr", "link", "img", "hr", "input"}


class Balanced(HTMLParser):
    """Checks that every element is closed in order, and collects ids, links and table headers."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.headless = 0

    def handle_starttag(self, tag, attributes) -> None:
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if "href" in values else []
        if tag == "th" and "scope" not in values:
            self.headless += 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"


def parsed(text: str) -> Balanced:
    parser = Balanced()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


@pytest.fixture
def every(right, wrong, report_of):
    """A report that names several networks; the second is wrong."""
    names = [str(case) for case in network_cases()[:4]]
    networks = [replace(right, name=name) for name in names]
    networks[1] = replace(wrong, name=names[1], reproduction="out/parity-x.npz")
    return report_of(*networks)


def test_nothing_is_fetched(every) -> None:
    text = page(every)
    assert not re.search(r"https?:|\bsrc=\"(?!data:)|@import|url\(|<link|<script|<iframe", text)


def test_it_is_well_formed_and_its_links_lead_somewhere(every) -> None:
    parser = parsed(page(every))
    assert len(parser.ids) == len(set(parser.ids)) == len(every.networks)
    assert sorted(parser.links) == sorted(f"#{name}" for name in parser.ids)
    assert parser.headless == 0


def test_every_network_and_every_layer_is_there(every) -> None:
    text = re.sub("<wbr>", "", page(every))
    for network in every.networks:
        assert f"<h2><code>{network.name}</code></h2>" in text
        assert f'"><code>{network.name}</code></a>' in text
    for probe in every.networks[0].runs[0].layers:
        assert f"<code>{probe.layer}</code>" in text
    for word in ("<title>Parity report", "prefers-color-scheme: dark", "width=device-width"):
        assert word in text


def test_agreement_is_the_headline(right, report_of) -> None:
    text = page(report_of(right))
    assert "<h1>example_unit agrees</h1>" in text
    assert "✗" not in text
    assert "<h1>All networks agree</h1>" in page(report_of(right, replace(right, name="b")))


def test_the_culprit_comes_first(every) -> None:
    text = page(every)
    name = every.networks[1].name
    assert f"<h1>conv2 is wrong in {name}</h1>" in text
    alarm = text.index('class="alarm"')
    assert alarm < text.index("<table")
    assert text.index("culprit: conv2 (Conv2d), wrong by itself") > alarm
    assert "python -m parity replay out/parity-x.npz" in text
    assert text.count('class="alarm"') == 1


def test_names_and_messages_are_escaped(right, wrong, report_of) -> None:
    evil = "<img src=x>&\"'"
    run = wrong.runs[0]
    check = replace(run.whole.checks[0], note=evil, layer=evil, tensor=evil)
    whole = replace(run.whole, checks=[check])
    layer = replace(run.layers[0], layer=evil, kind=evil, comparison=whole)
    run = replace(run, whole=whole, layers=[layer], verdict=evil, culprits=[evil])
    bad = replace(right, name=evil, kind=evil, runs=[run], problem="", reproduction=evil)
    text = page(report_of(bad, replace(right, problem=evil)))
    parsed(text)
    assert "<img src=x" not in text


def test_a_network_without_figures_still_makes_a_page(right, report_of) -> None:
    empty = replace(right, runs=[], trainings=[], problem="conv9 is only in torch")
    text = page(report_of(empty))
    parsed(text)
    assert text.index("conv9 is only in torch") < text.index("<table")
