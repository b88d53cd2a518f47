"""A third implementation: the torch module exported to ONNX and run by onnxruntime.

Needs the extra ``onnx``. In evaluation mode all three are compared with the float64 reference by
`parity.tolerance`'s rule; onnxruntime is judged exactly as NumPy is.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from parity.assertions import compare
from parity.comparison import Comparison
from parity.extras import require
from parity.protocol import Network, ParityError
from parity.runs import clone
from parity.sides import OnnxFile
from parity.transfer import to_array


def compare_with_onnxruntime(
    torch_module: nn.Module,
    numpy_network: Network,
    inputs: np.ndarray | Tensor,
    *,
    name: str | None = None,
) -> list[Comparison]:
    """Compare NumPy, and the torch module exported to onnxruntime, with torch on float32 inputs.

    Returns:
        NumPy's comparison and onnxruntime's.

    Raises:
        ParityError: if a package of the extra is missing or the export fails.
    """
    array = to_array(inputs)
    name = name or type(torch_module).__name__
    sides = {name: numpy_network, f"{name} in onnxruntime": OnnxFile(export(torch_module, array))}
    return [
        compare(torch_module, side, array, train=False, name=title) for title, side in sides.items()
    ]


def export(torch_module: nn.Module, inputs: np.ndarray) -> bytes:
    """Return a module, in evaluation mode, as an ONNX model with a free batch size."""
    for package in ("onnx", "onnxscript"):
        require(package, "onnx")
    module = clone(torch_module, torch.float32, train=False)
    batch = torch.export.Dim("batch", min=1)
    with TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        path = Path(folder) / "model.onnx"
        try:
            torch.onnx.export(
                module,
                (torch.from_numpy(inputs[[0, 0]]),),  # two samples: one would be taken as fixed
                str(path),
                dynamic_shapes=({0: batch},),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        except Exception as error:
            kind = type(torch_module).__name__
            raise ParityError(f"torch cannot export {kind} to ONNX: {error}") from error
        return path.read_bytes()
