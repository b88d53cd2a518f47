"""The command line: exit status, files, and one sentence for what cannot be done."""

from __future__ import annotations

import pytest

import numpy_models
from parity.__main__ import main
from parity.networks import network_cases
from parity.report import command
from parity.report.measure import Network
from parity.reproduction import load

from .conftest import OffByAThousandth

UNIT = ["report", "--model", "example_unit", "--output"]


def test_agreement_writes_the_page_and_exits_0(tmp_path, capsys) -> None:
    folder = tmp_path / "new" / "folder"
    assert main([*UNIT, str(folder)]) == 0
    (path,) = folder.iterdir()
    assert path.name == "parity-report.html"
    out = capsys.readouterr().out
    assert "example_unit: agrees, closest call " in out
    assert f"page: {path}" in out


def test_a_fault_names_the_culprit_saves_a_reproduction_and_exits_1(
    tmp_path, capsys, monkeypatch
) -> None:
    build = numpy_models.build

    def faulty(name, **arguments):
        network = build(name, **arguments)
        network.layers["conv2"].__class__ = OffByAThousandth
        return network

    monkeypatch.setattr(numpy_models, "build", faulty)
    assert main([*UNIT, str(tmp_path)]) == 1
    assert capsys.readouterr().out.startswith("example_unit: disagrees, culprit: conv2 (Conv2d)")
    path = tmp_path / "parity-example_unit-conv2.npz"
    reproduction = load(path)
    assert reproduction.layer == "conv2"
    assert reproduction.factory == "parity.networks:pair"
    page = (tmp_path / "parity-report.html").read_text(encoding="utf-8")
    assert "<h1>conv2 is wrong in example_unit</h1>" in page
    assert f"python -m parity replay {path}" in page


def test_all_is_every_network_and_a_name_is_all_its_variants(tmp_path, monkeypatch) -> None:
    measured = []

    def measure(case):
        measured.append(case)
        return Network(str(case), 0.0, problem="not measured")

    monkeypatch.setattr(command, "measure", measure)
    assert main(["report", "--all", "--output", str(tmp_path)]) == 1
    assert measured == network_cases()
    measured.clear()
    assert main(["report", "--model", "deepcnn21", "example_unit", "--output", str(tmp_path)]) == 1
    assert {case.name for case in measured} == {"deepcnn21", "example_unit"}
    assert len(measured) == 4


def test_an_unknown_network_is_one_sentence(tmp_path, capsys) -> None:
    assert main(["report", "--model", "resnet", "--output", str(tmp_path / "new")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("parity: there is no network 'resnet': there are lenet5_relu, ")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file", "file/folder"])
def test_an_unusable_place_is_told_before_measuring(place, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(command, "measure", lambda *_: pytest.fail("measured first"))
    (tmp_path / "file").write_text("kept")
    assert main([*UNIT, str(tmp_path / place)]) == 2
    assert capsys.readouterr().err.startswith(f"parity: cannot write {tmp_path / place}: ")
    assert (tmp_path / "file").read_text() == "kept"
