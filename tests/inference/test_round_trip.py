"""Train, evaluate, predict and export: what one command leaves, the next one takes."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pretrained
from inference.__main__ import main as inference
from inference.evaluate import main as evaluate
from inference.export import FORMATS
from inference.export import main as export
from inference.predict import main as predict
from tests import forked
from training.data import load_dataset
from training.errors import ConfigError

RECIPE = ("data=digits", "trainer.epochs=1", "trainer.batch_size=20", "data.shift=1")


@pytest.fixture(scope="module", params=["numpy", "torch"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of either backend over the digits that come with scikit-learn."""
    folder = tmp_path_factory.mktemp("runs")
    arguments = (*RECIPE, f"backend={request.param}", "backend.threads=1", "hydra.run.dir=run")
    result = forked.run(folder, forked.train, *arguments, MNIST_ROOT="", CUDA_VISIBLE_DEVICES="")
    assert result.returncode == 0, result.stderr
    return folder / "run"


def test_round_trip(run: Path, tmp_path: Path, capsys) -> None:
    summary = json.loads((run / "summary.json").read_text())

    evaluate([str(run), "--data", "digits", "--both", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["largest_difference_of_logits"] < 1e-4
    for result in found["results"].values():
        assert result["accuracy"] == pytest.approx(summary["test_accuracy"], abs=1e-9)
        assert result["loss"] == pytest.approx(summary["test_loss"], rel=1e-4)
        assert np.sum(result["confusion"]) == result["images"] == 360

    path = tmp_path / "again.safetensors"
    export([str(run), "--format", "safetensors", "--output", str(path)])
    assert "loaded again, its logits differ at most by 0 from numpy" in capsys.readouterr().out

    image = load_dataset("digits", announce=lambda _: None).test_images[0]
    Image.fromarray(image).save(tmp_path / "digit.png")
    answers = []
    for weights in (str(run), str(run / "weights.safetensors"), str(path)):
        predict([str(tmp_path / "digit.png"), "--weights", weights, "--backend", "numpy", "--json"])
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_computes_what_both_twins_compute(name: str, tmp_path: Path, capsys) -> None:
    if name == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(package, reason=f"needs {package}, of the extra 'onnx'")
    path = tmp_path / "exported"
    export(["lenet5_bn", "--format", name, "--output", str(path)])
    said = capsys.readouterr().out
    numbers = [float(n) for n in re.findall(r"(\S+) from (?:numpy|torch)", said)]
    assert max(numbers) < 1e-4
    assert path.stat().st_size > 240_000


def test_what_computes_something_else_is_not_written(tmp_path: Path, monkeypatch) -> None:
    broken = FORMATS["npz"]._replace(run=lambda *a: FORMATS["npz"].run(*a) * np.float32(1.001))
    monkeypatch.setitem(FORMATS, "broken", broken)
    with pytest.raises(ConfigError, match=r"nothing was written to .*broken.npz"):
        export(["lenet5_bn", "--format", "broken", "--output", str(tmp_path / "broken.npz")])
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_one_sentence(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    monkeypatch.setattr("parity.onnx.export", lambda *_: b"")
    with pytest.raises(ConfigError, match="onnxruntime is not installed: pip install"):
        export(["lenet5_bn", "--format", "onnx", "--output", str(tmp_path / "a.onnx")])


def test_the_tables_of_an_evaluation(tmp_path: Path, capsys) -> None:
    evaluate(["lenet5_bn", "--data", "digits", "--errors", "3", "--pictures", str(tmp_path)])
    said = capsys.readouterr().out
    assert re.search(r"^numpy  accuracy \d\d\.\d\d%  loss \d\.\d{4}$", said, re.M)
    assert said.count("predicted ") == 3 + 1  # and the matrix's head
    by_class = said.partition("true \\")[0]
    errors = [int(n) for n in re.findall(r"^ +\d  +\d+  +(\d+)  ", by_class, re.M)]
    assert len(errors) == 10
    accuracy = float(re.search(r"accuracy ([\d.]+)%", said)[1])
    assert sum(errors) == round(360 * (1 - accuracy / 100))
    for name in ("confusion.png", "worst.png"):
        assert (tmp_path / name).stat().st_size > 1000


@pytest.mark.skipif(not os.environ.get("MNIST_ROOT"), reason="needs MNIST in MNIST_ROOT")
def test_mnist_is_evaluated_as_the_record_says(capsys) -> None:
    evaluate(["lenet5_relu", "--json"])
    found = json.loads(capsys.readouterr().out)["results"]["numpy"]["accuracy"]
    # Other kernels round otherwise, which may decide an image or two of 10,000.
    assert abs(found - pretrained.load("lenet5_relu").meta["test_accuracy"]["numpy"]) <= 2e-4


@pytest.mark.parametrize("arguments", [["evaluat"], ["evaluate", "nothing"], ["predict", "none"]])
def test_mistakes_end_with_one_line_and_status_2(arguments, monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["inference", *arguments])
    with pytest.raises(SystemExit) as end:
        inference()
    assert end.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
