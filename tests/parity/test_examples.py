"""The example pairs agree, and a mistake in one has the name of its layer."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parity import DisagreementError, Pair, assert_parity, split
from parity.__main__ import main
from parity.pair import load_pair

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
NEEDED = {"jax_pair": ["jax"], "onnx_pair": ["onnx", "onnxscript", "onnxruntime"]}
SPECS = [
    "functions_pair:pair",
    "jax_pair:pair",
    "lstm_language_model:pair",
    "onnx_pair:pair",
    "student_conv:good",
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
    first, *others = pair.modes
    assert_parity(pair, train=first)
    for train in others:  # anew, as training leaves its traces
        assert_parity(made(spec, monkeypatch, **arguments), train=train)


def test_every_example_is_tried() -> None:
    pairs = {path.stem for path in EXAMPLES.glob("*.py") if "parity" in path.read_text("utf-8")}
    assert pairs == {spec.partition(":")[0] for spec in SPECS}


def test_the_command_line_runs_them(monkeypatch, capsys) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    assert main(["check", "lstm_language_model:pair"]) == 0
    found = capsys.readouterr()
    assert found.err == ""
    assert found.out.startswith("TorchModel in float64, training mode: 10 tensors agree")


def convicted(pair: Pair) -> list[str]:
    with pytest.raises(DisagreementError) as caught:
        assert_parity(pair, train=True)
    return caught.value.culprits


def wrong(layer: Any, backward: Any) -> None:
    """Make a layer's backward end in another function of it and what it returns."""
    kind = type(layer)

    class Wrong(kind):
        def backward(self, dy):
            return backward(self, super().backward(dy))

    layer.__class__ = Wrong


def test_a_wrong_gradient_of_keys_has_its_layers_name(monkeypatch) -> None:
    pair = made("transformer_encoder:pair", monkeypatch)
    attention: Any = pair.numpy_network.layers["layers.1.self_attn"]  # type: ignore[attr-defined]
    wrong(attention, lambda _, gradients: (gradients[0], 0.99 * gradients[1], gradients[2]))
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

    class Assigning(type(embedding)):  # type: ignore[misc]
        def backward(self, dy):
            self.g = {"weight": np.zeros_like(self.p["weight"])}
            self.g["weight"][self.tokens] = dy

    embedding.__class__ = Assigning
    assert convicted(pair) == ["embed"]


def test_a_function_that_forgets_a_sum_has_its_layers_name(monkeypatch) -> None:
    pair = made("functions_pair:pair", monkeypatch)
    right = sys.modules["functions_pair"].affine_backward

    def halved(dout, cache):
        dx, dw, db = right(dout, cache)
        return dx, dw, db / 2 if cache[1].shape == (8, 3) else db

    monkeypatch.setattr("functions_pair.affine_backward", halved)
    assert convicted(pair) == ["affine2"]


PAGE = (ROOT / "docs" / "porting.md").read_text(encoding="utf-8")


def test_the_page_quotes_examples_that_are_tried() -> None:
    quoted = re.findall(r"python -m parity check (\S+)", PAGE)
    assert quoted
    assert set(quoted) <= set(SPECS)


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL))
def test_the_pages_code_runs(block: str) -> None:
    for package in ("jax", "onnx", "onnxscript", "onnxruntime"):
        if package in block.lower():
            pytest.importorskip(package, reason=f"needs {package}")
    exec(compile(block, "docs/porting.md", "exec"), {"__name__": "porting"})
