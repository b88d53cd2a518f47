"""Ready sides to hold against a torch module: each satisfies `parity.protocol.Network`."""

from parity.sides.functions import FunctionalOptimizer, Functions
from parity.sides.jax_function import JaxFunction
from parity.sides.onnx_file import OnnxFile
from parity.sides.torch_module import TorchModule, TorchOptimizer

__all__ = [
    "FunctionalOptimizer",
    "Functions",
    "JaxFunction",
    "OnnxFile",
    "TorchModule",
    "TorchOptimizer",
]
