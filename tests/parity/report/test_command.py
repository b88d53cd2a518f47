"""The command line: exit status, files, and one sentence for what cannot be done."""

from __future__ import annotations

import json

import pytest

import numpy_models
from parity.__main__ import main
from parity.report import cli, command
from parity.reproduction import load

from .conftest import OffByAThousandth

MODEL = "model=example_unit"


def test_agreement_writes_both_files_and_exits_0(tmp_path, capsys) -> None:
    folder = tmp_path / "new" / "folder"
    assert main(["report", MODEL, "--output", str(folder), "--json", str(tmp_path / "x.json")]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["parity-report.html"]
    assert json.loads((tmp_path / "x.json").read_text())["passed"] is True
    out = capsys.readouterr().out
    assert "example_unit: agrees" in out
    assert str(folder / "parity-report.html") in out


def test_a_fault_names_the_culprit_saves_a_reproduction_and_exits_1(
    tmp_path, capsys, monkeypatch
) -> None:
    build = numpy_models.build

    def faulty(name, **arguments):
        network = build(name, **arguments)
        network.layers["conv2"].__class__ = OffByAThousandth
        return network

    monkeypatch.setattr(numpy_models, "build", faulty)
    assert command([MODEL, "--output", str(tmp_path)]) == 1
    assert capsys.readouterr().out.startswith("example_unit: disagrees, culprit: conv2 (Conv2d)")
    path = tmp_path / "parity-example_unit-conv2.npz"
    reproduction = load(path)
    assert reproduction.layer == "conv2"
    assert reproduction.factory == "parity.networks:pair"
    assert "<h1>conv2 is wrong in example_unit</h1>" in (tmp_path / "parity-report.html").read_text(
        encoding="utf-8"
    )
    facts = json.loads((tmp_path / "parity-report.json").read_text(encoding="utf-8"))
    assert facts["networks"][0]["reproduction"] == str(path)


def test_all_is_every_network_and_a_name_is_all_its_variants() -> None:
    assert cli._chosen([], True) == cli.network_cases()
    chosen = cli._chosen(["model=deepcnn21", MODEL], False)
    assert {case.name for case in chosen} == {"deepcnn21", "example_unit"}
    assert len(chosen) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say what to measure: --all, or model= with one of lenet5_relu, "),
        (
            ["model=lenet5_tan"],
            "there is no network 'lenet5_tan' (did you mean lenet5_tanh?): ",
        ),
        (["model=resnet"], "there is no network 'resnet': there are lenet5_relu, "),
        (["lenet5_tanh"], "'lenet5_tanh' is no model: write model=lenet5_tanh, or --all"),
        (["lenet6"], "there is no network 'lenet6': there are lenet5_relu, "),
        (["mdoel=lenet5_tanh"], "write model=lenet5_tanh"),
        (["--all", "model=lenet5_tanh"], "leave out model= or --all"),
        (["--al"], "unrecognized arguments: --al"),
        ([MODEL, "--seed", "one"], "argument --seed: invalid int value: 'one'"),
        ([MODEL, "--seed", "-1"], "--seed must be a whole number from 0"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(
    words, message, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("parity report: ")
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--output", "--json"])
def test_an_unusable_place_is_told_before_measuring(option, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(cli, "measure", lambda *_: pytest.fail("measured first"))
    file = tmp_path / "file"
    file.write_text("kept")
    assert command([MODEL, "--output", str(tmp_path), option, str(file / "x")]) == 2
    assert f"cannot write {file / 'x'}" in capsys.readouterr().err
    assert file.read_text() == "kept"


def test_a_file_in_the_folders_place_is_called_one(tmp_path, capsys) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    assert command([MODEL, "--output", str(file)]) == 2
    error = capsys.readouterr().err
    assert error == f"parity report: cannot write into {file}: it is a file; give a folder\n"
