"""The example pairs agree, and a mistake in one has the name of its layer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parity import DisagreementError, Pair, assert_parity, split
from parity.pair import load_pair

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
NEEDED = {"jax_pair": ["jax"], "onnx_pair": ["onnx", "onnxscript", "onnxruntime"]}
SPECS = [
    "functions_pair:pair",
    "jax_pair:pair",
    "lstm_language_model:pair",
    "onnx_pair:pair",
    "torch_pair:autocast",
    "torch_pair:channels_last",
    "torch_pair:compiled",
    "transformer_encoder:pair",
]


def made(spec: str, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> Pair:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for package in NEEDED.get(spec.partition(":")[0], []):
        pytest.importorskip(package, reason=f"needs {package}")
    return load_pair(spec, arguments)


@pytest.mark.parametrize("spec", SPECS)
def test_an_example_agrees(spec: str, monkeypatch) -> None:
    arguments = {"backend": "aot_eager"} if spec.endswith("compiled") else {}
    pair = made(spec, monkeypatch, **arguments)
    for train in pair.modes:
        assert_parity(made(spec, monkeypatch, **arguments), train=train)


def test_every_example_is_tried() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {s.partition(":")[0] for s in SPECS}


def test_the_command_line_runs_them(tmp_path) -> None:
    command = [sys.executable, "-m", "parity", "check", "lstm_language_model:pair"]
    variables = {**os.environ, "PYTHONPATH": f"{ROOT}:{EXAMPLES}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("TorchModel in float64, training mode: 10 tensors agree")


def convicted(pair: Pair) -> list[str]:
    with pytest.raises(DisagreementError) as caught:
        assert_parity(pair, train=True)
    return caught.value.culprits


def test_a_wrong_gradient_of_keys_has_its_layers_name(monkeypatch) -> None:
    pair = made("transformer_encoder:pair", monkeypatch)
    attention: Any = pair.numpy_network.layers["layers.1.self_attn"]  # type: ignore[attr-defined]
    right = attention.backward

    def backward(dy):
        dq, dk, dv = right(dy)
        return dq, 0.99 * dk, dv

    attention.backward = backward
    assert convicted(pair) == ["layers.1.self_attn"]


def test_a_matrix_that_the_map_does_not_transpose_has_its_layers_name(monkeypatch) -> None:
    pair = made("transformer_encoder:pair", monkeypatch)
    here = "layers.0.self_attn"
    square = split((f"{here}.Wq", "T"), f"{here}.Wk", (f"{here}.Wv", "T"))
    wrong = {**(pair.names or {}), f"{here}.in_proj_weight": square}
    assert convicted(Pair.of(pair, names=wrong)) == [here]


def test_tokens_that_occur_twice_must_add_up(monkeypatch) -> None:
    pair = made("lstm_language_model:pair", monkeypatch)
    embedding: Any = pair.numpy_network.layers["embed"]  # type: ignore[attr-defined]

    def backward(dy):
        embedding.g = {"weight": np.zeros_like(embedding.p["weight"])}
        embedding.g["weight"][embedding.tokens] = dy

    embedding.backward = backward
    assert convicted(pair) == ["embed"]
