"""The command line on pairs that agree, that do not, and that cannot be compared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from parity.__main__ import main
from parity.faults import command as faults
from parity.protocol import ParityError
from parity.report import command as report
from parity.reproduction import load

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.chdir(tmp_path)


def test_agreement_is_status_0(capsys) -> None:
    assert main(["check", "factories:right", "batch=3", "--verbose"]) == 0
    out = capsys.readouterr().out
    assert "training mode: 4 tensors agree" in out
    assert "evaluation mode: 4 tensors agree" in out
    assert "layer 0, gradient of weight: worst at" in out
    assert not list(Path().iterdir())


def test_a_culprit_is_status_1_and_its_reproduction_replays(capsys) -> None:
    assert main(["check", "factories:wrong"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("culprit: 0 (Linear), wrong by itself: the pair, 0 alone, gradient of")
    assert "parity-wrong-0.npz (0 alone, 1 sample)" in out
    found = load(Path("parity-wrong-0.npz"))
    assert found.task.inputs.shape == (1, 4)
    assert set(found.weights) == {"weight", "bias"}
    np.testing.assert_allclose(
        found.numpy_tensors["", "gradient of bias"],
        2 * found.torch_tensors["", "gradient of bias"],
        rtol=1e-6,
    )
    with np.load("parity-wrong-0.npz", allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file)
    assert main(["replay", "parity-wrong-0.npz"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("importing the pair again from factories:wrong\n")
    assert "now: the pair, 0 alone in float32, training mode: 1 of 4 tensors disagree" in out
    assert "torch's own values differ" not in out


def test_a_repaired_pair_replays_with_status_0(capsys, monkeypatch) -> None:
    import factories

    main(["check", "factories:wrong", "--save", "here.npz"])
    monkeypatch.setattr(factories, "Doubled", factories.numpy_models.Linear)
    assert main(["replay", "here.npz"]) == 0
    assert "4 tensors agree" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "evidence"),
    [
        (["factories:several"], "gradient of input[1]"),
        (["factories:wrong_for_one_sample"], "one sample with exact zeros, output"),
    ],
)
def test_what_takes_several_inputs_or_one_sample_to_fail_replays(words, evidence, capsys) -> None:
    assert main(["check", *words, "--save", "here.npz"]) == 1
    assert evidence in capsys.readouterr().out
    assert main(["replay", "here.npz"]) == 1


def test_a_failure_that_does_not_come_back_is_not_written(capsys) -> None:
    assert main(["check", "factories:tired"]) == 1
    assert "no reproduction is written: the failure does not recur" in capsys.readouterr().out
    assert not list(Path().iterdir())


def test_status_1_is_for_disagreements_alone(monkeypatch, capsys) -> None:
    monkeypatch.setattr("parity.check.assert_agreement", lambda _: 1 / 0)
    assert main(["check", "factories:right"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("parity: stopped by an unexpected error, ZeroDivisionError at")
    assert err.count("\n") == 1


def test_nothing_is_overwritten(capsys) -> None:
    for _ in range(2):
        main(["check", "factories:wrong"])
    names = sorted(path.name for path in Path().iterdir())
    assert names == ["parity-wrong-0-2.npz", "parity-wrong-0.npz"]


def test_a_loss_is_reproduced_alone(capsys) -> None:
    assert main(["check", "factories:wrong_loss"]) == 1
    assert capsys.readouterr().out.startswith("culprit: loss (CrossEntropyLoss)")
    found = load(Path("parity-wrong_loss-loss.npz"))
    assert found.layer == "loss"
    assert found.task.targets is not None
    assert main(["replay", "parity-wrong_loss-loss.npz"]) == 1


def test_an_exception_in_a_layer_names_the_layer(capsys) -> None:
    assert main(["check", "factories:raising"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("culprit: 0 (Linear), wrong by itself")
    assert "raised FloatingPointError at factories.py:" in out
    assert "the matrix is tired" in out
    assert main(["replay", "parity-raising-0.npz"]) == 1


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("factories", "names no factory: write package.module:factory"),
        ("factoriez:right", "cannot import factoriez: there is no module factoriez"),
        ("factories:rigt", "rigt is not in factories"),
        ("factories:value", "value is not callable"),
        ("factories:failing", "factories:failing raised OSError: no such weights"),
        ("factories:nothing", "or a dict, and returned a NoneType"),
        ("factories:number", "or a dict, and returned an int"),
        ("factories:a_pair_of_two", "returned a tuple of 2"),
        ("factories:misspelt", "has unknown target; its names are torch_module"),
        ("factories:incomplete", "has no numpy_network, inputs"),
        ("factories:no_module", "torch_module must be a torch.nn.Module, and it is a Linear"),
        ("factories:wrong_dtype", "inputs are float64 but NumPy's 0.weight is float32"),
        ("factories:wrong_width", "torch's Sequential cannot run on inputs of shape (6, 3)"),
        ("factories:no_gradient", "gives an output without a gradient"),
        ("factories:missing_bias", "0.bias is only in NumPy"),
        ("factories:no_tensor", "torch's Silent returns a list: parity needs a tensor"),
        ("factories:loss_without_targets", "a loss needs targets"),
    ],
)
def test_bad_input_is_status_2_and_one_sentence(spec, sentence, capsys) -> None:
    assert main(["check", spec]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("parity: ")
    assert err.count("\n") == 1
    assert sentence in err
    assert not list(Path().iterdir())


def test_an_argument_that_is_none(capsys) -> None:
    assert main(["check", "factories:right", "batch"]) == 2
    assert "'batch' is not an argument for a factory: write name=value" in capsys.readouterr().err
    assert main(["check", "factories:right", "size=2"]) == 2
    assert "unexpected keyword argument 'size'" in capsys.readouterr().err


def test_files_that_are_no_reproduction(capsys) -> None:
    Path("text.npz").write_text("hello", encoding="utf-8")
    np.savez("other.npz", inputs=np.zeros(3))
    np.savez("pickled.npz", facts=np.array([{}], dtype=object))
    main(["check", "factories:wrong", "--save", "whole.npz"])
    Path("half.npz").write_bytes(Path("whole.npz").read_bytes()[:-300])
    capsys.readouterr()
    for name, sentence in [
        ("absent.npz", "there is no file absent.npz"),
        ("text.npz", "text.npz is not a reproduction"),
        ("other.npz", "other.npz is not a reproduction"),
        ("pickled.npz", "pickled.npz is not a reproduction"),
        ("half.npz", "half.npz is not a reproduction"),
    ]:
        assert main(["replay", name]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert sentence in err


def test_a_folder_that_is_not_there(capsys) -> None:
    assert main(["check", "factories:wrong", "--save", "nowhere/file.npz"]) == 2
    assert "cannot write nowhere/file.npz" in capsys.readouterr().err
    with pytest.raises(ParityError, match="there is no file"):
        load(Path("nowhere/file.npz"))


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "words",
    [
        ["faults", "--only", "bias added twice"],
        ["report", "--model", "example_unit", "--output", "."],
        ["check", "factories:interrupted", "--save", "old.json"],
    ],
)
def test_ctrl_c_is_status_130_and_one_sentence(words, monkeypatch, capsys) -> None:
    Path("old.json").write_text("old")
    monkeypatch.setattr(faults, "kill", interrupt)
    monkeypatch.setattr(report, "measure", interrupt)
    assert main(words) == 130
    assert capsys.readouterr().err == "parity: interrupted, no file is left half-written\n"
    assert [(path.name, path.read_text()) for path in Path().iterdir()] == [("old.json", "old")]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_standard_output_is_one_sentence() -> None:
    command = [sys.executable, "-m", "parity", "faults", "--only", "bias added twice"]
    with open("/dev/full", "w") as full:
        run = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False
        )
    assert run.stderr == "parity: cannot write standard output: No space left on device\n"
    assert run.returncode == 2
