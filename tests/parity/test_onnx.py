"""torch, NumPy and onnxruntime compared with each other in evaluation mode."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import numpy_models
import torch_models
from parity import ParityError, assert_parity
from parity.networks import NetworkCase, network_cases
from parity.onnx import compare_with_onnxruntime, export
from parity.sides import OnnxFile

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"needs {package}, of the extra 'onnx'")

CASES = [case for case in network_cases() if not case.arguments]  # each architecture once


@pytest.mark.parametrize("case", CASES, ids=str)
def test_three_implementations(case: NetworkCase, rng) -> None:
    module = torch_models.build(case.name, **case.arguments)
    network = numpy_models.build(case.name, **case.arguments)
    inputs = rng.random((3, *case.input)).astype(np.float32)
    for comparison in compare_with_onnxruntime(module, network, inputs, name=str(case)):
        assert comparison.passed, str(comparison)


def test_a_wrong_third_is_told(rng, monkeypatch) -> None:
    module, network = nn.Linear(6, 4), numpy_models.Linear(6, 4)
    inputs = rng.standard_normal((5, 6)).astype(np.float32)
    pair = nn.Sequential(module), numpy_models.Sequential(network)
    assert all(comparison.passed for comparison in compare_with_onnxruntime(*pair, inputs))
    wrong = export(nn.Sequential(nn.Linear(6, 4)), inputs)
    monkeypatch.setattr("parity.onnx.export", lambda *_: wrong)
    ours, theirs = compare_with_onnxruntime(*pair, inputs)
    assert ours.passed
    assert "in onnxruntime" in str(theirs)
    assert not theirs.passed


def test_any_batch_size_after_export(rng) -> None:
    module = torch_models.build("lenet5_bn").eval()
    model = export(module, rng.random((1, 1, 28, 28)).astype(np.float32))
    for size in (1, 4):
        inputs = rng.random((size, 1, 28, 28)).astype(np.float32)
        with torch.no_grad():
            expected = module(torch.from_numpy(inputs)).numpy()
        np.testing.assert_allclose(OnnxFile(model).forward(inputs), expected, atol=1e-5)


def test_a_missing_package_is_one_sentence(monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ParityError, match=r"onnxruntime is not installed: pip install"):
        OnnxFile(b"")


def test_a_damaged_file_is_one_sentence(tmp_path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(ParityError, match=r"onnxruntime cannot read .*model\.onnx"):
        OnnxFile(path)


def noted(kind: str, source: str, target: str, layer: str):
    """Return an operation with the note that torch's exporter leaves on it."""
    import onnx

    node = onnx.helper.make_node(kind, [source], [target])
    scopes = f"['', '{layer}', 'aten']"
    note = onnx.StringStringEntryProto(key="pkg.torch.onnx.name_scopes", value=scopes)
    node.metadata_props.append(note)
    return node


def model(*kinds: str) -> bytes:
    import onnx

    names = ["x", *(f"value{i}" for i, _ in enumerate(kinds))]
    nodes = [noted(k, names[i], names[i + 1], str(i)) for i, k in enumerate(kinds)]
    first, last = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 3])
        for name in (names[0], names[-1])
    )
    graph = onnx.helper.make_graph(nodes, "g", [first], [last])
    opset = [onnx.helper.make_opsetid("", 20)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


def test_the_first_layer_whose_output_is_wrong_is_named() -> None:
    module = nn.Sequential(nn.Tanh(), nn.Sigmoid(), nn.ReLU())
    inputs = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    right, wrong = (OnnxFile(model("Tanh", kind, "Relu")) for kind in ("Sigmoid", "Softplus"))
    assert_parity(module, right, inputs, train=False)
    with pytest.raises(
        AssertionError, match=r"\Aculprit: 1, whose output is the first to be wrong"
    ):
        assert_parity(module, wrong, inputs, train=False)
    with pytest.raises(AssertionError, match=r"\Aculprit: unknown"):  # a session shows no layers
        assert_parity(module, OnnxFile(wrong.session), inputs, train=False)


def test_inputs_go_by_place_or_name_and_several_outputs_are_a_tuple() -> None:
    import onnx

    def values(*names: str):
        kind = onnx.TensorProto.FLOAT
        return [onnx.helper.make_tensor_value_info(name, kind, ["n", 3]) for name in names]

    nodes = [onnx.helper.make_node(k, ["x", "z"], [k]) for k in ("Sub", "Div")]
    graph = onnx.helper.make_graph(nodes, "g", values("x", "z"), values("Sub", "Div"))
    opset = [onnx.helper.make_opsetid("", 20)]
    made = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    side = OnnxFile(made.SerializeToString())
    x, z = np.random.default_rng(0).random((2, 4, 3)).astype(np.float32) + 1
    for found in (side.forward(x, z), side.forward(x, z=z), side.forward(z=z, x=x)):
        assert type(found) is tuple
        np.testing.assert_allclose(found, (x - z, x / z), rtol=1e-6)
    assert (side.parameters(), side.gradients(), side.buffers()) == ({}, {}, {})
    assert side.session.get_session_options().intra_op_num_threads == 1
    assert side.session.get_session_options().inter_op_num_threads == 1
    assert side.session.get_providers() == ["CPUExecutionProvider"]


def test_verdicts_on_three_have_their_names() -> None:
    pair = nn.Sequential(nn.Linear(6, 4)), numpy_models.Sequential(numpy_models.Linear(6, 4))
    inputs = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    for name, shown in ((None, "Sequential"), ("mine", "mine")):
        found = compare_with_onnxruntime(*pair, inputs, name=name)
        assert [each.network for each in found] == [shown, f"{shown} in onnxruntime"]
        assert not any(each.train for each in found)
