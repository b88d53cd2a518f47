"""The proof that a torch module and a NumPy network agree, as a tool for any such pair.

The names below are loaded when first used, so that `parity.finite_differences` stays free of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "Comparison": "parity.comparison",
    "DisagreementError": "parity.protocol",
    "LayerProbe": "parity.comparison",
    "Pair": "parity.pair",
    "ParityError": "parity.protocol",
    "Recipe": "parity.steps",
    "TensorCheck": "parity.tolerance",
    "Trajectory": "parity.trajectory",
    "assert_derivatives": "parity.finite_differences",
    "assert_parity": "parity.assertions",
    "assert_trajectory": "parity.trajectory",
    "compare": "parity.assertions",
    "compare_on_device": "parity.cuda",
    "compare_with_onnxruntime": "parity.onnx",
    "compare_loss": "parity.assertions",
    "follow": "parity.trajectory",
    "fused": "parity.names",
    "gates": "parity.names",
    "localise": "parity.assertions",
    "split": "parity.names",
    "summed": "parity.names",
    "to_numpy": "parity.transfer",
    "to_torch": "parity.transfer",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'parity' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
