"""A torch module, and the ONNX file it was exported to, run by onnxruntime."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from parity.onnx import export
from parity.sides import OnnxFile


def pair():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 5)
    )
    inputs = np.random.default_rng(0).standard_normal((6, 1, 8, 8)).astype(np.float32)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(export(module, inputs))
        side = OnnxFile(path)
    return {"torch_module": module, "numpy_network": side, "inputs": inputs, "train": False}
