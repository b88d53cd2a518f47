"""A network in an ONNX file, or an onnxruntime session: forward only, with weights of its own."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from parity.extras import require
from parity.protocol import ParityError


class OnnxFile:
    """What onnxruntime computes of a model; needs the extra ``onnx``.

    Args:
        model: a path, a model's bytes, or an ``onnxruntime.InferenceSession``. From a path or bytes
            a session is made that runs on one CPU thread.

    Inputs given by position follow the model's order. One output is an array, several are a tuple.

    Raises:
        ParityError: if onnxruntime is not installed or cannot read the model.
    """

    frozen = True
    backward = None

    def __init__(self, model: Any) -> None:
        runtime = require("onnxruntime", "onnx")
        self.shown: dict[str, str] = {}
        self._source = model
        if isinstance(model, str | Path | bytes):
            options = runtime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            source = model if isinstance(model, bytes) else str(model)
            try:
                model = runtime.InferenceSession(source, options, ["CPUExecutionProvider"])
            except Exception as error:  # onnxruntime's own have no common class
                what = "the model" if isinstance(source, bytes) else source
                raise ParityError(f"onnxruntime cannot read {what}: {error}") from error
        self.session = model

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Return the model's outputs."""
        names = [each.name for each in self.session.get_inputs()]
        feed = {**dict(zip(names, inputs, strict=False)), **named}
        if self.shown:
            return dict(
                zip(self.shown, self.session.run([*self.shown.values()], feed), strict=True)
            )
        outputs = self.session.run(None, feed)
        arrays = tuple(np.asarray(output) for output in outputs)
        return arrays if len(arrays) > 1 else arrays[0]

    def opened(self, layers: Collection[str]) -> OnnxFile:
        """Return the model with the outputs of torch's layers as outputs, by the layers' names.

        They are known of a file that ``torch.onnx.export(dynamo=True)`` wrote, which notes the
        layer of each operation; none is of a session. Several layers may be folded into the last.
        """
        if not isinstance(self._source, str | Path | bytes):
            return self
        onnx = require("onnx", "onnx")
        read = onnx.load_from_string if isinstance(self._source, bytes) else onnx.load
        model = read(self._source)
        shown = dict[str, str]()
        for node in model.graph.node:
            for note in node.metadata_props:
                if note.key == "pkg.torch.onnx.name_scopes":
                    scopes = [name for name in literal_eval(note.value) if name in layers]
                    shown |= {name: node.output[0] for name in scopes[-1:]}
        known = {output.name for output in model.graph.output}
        for value in {*shown.values()} - known:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(value))
        opened = OnnxFile(model.SerializeToString())
        opened.shown = shown
        return opened

    def parameters(self) -> dict[str, np.ndarray]:
        """Return no arrays: the weights are the model's own."""
        return {}

    gradients = buffers = parameters

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxFile:
        return self  # a session keeps nothing between two runs
