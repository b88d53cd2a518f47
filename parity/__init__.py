"""The proof that a torch module and a NumPy network agree, as a tool for any such pair.

The names below are loaded when first used, so that `parity.finite_differences` stays free of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_NAMES = {
    "parity.assertions": ("assert_parity", "compare", "compare_loss", "localise"),
    "parity.comparison": ("Comparison", "LayerProbe"),
    "parity.cuda": ("assert_parity_on_device",),
    "parity.finite_differences": ("assert_derivatives",),
    "parity.names": ("fused", "gates", "split", "summed"),
    "parity.onnx": ("compare_with_onnxruntime",),
    "parity.pair": ("Pair",),
    "parity.protocol": ("DisagreementError", "ParityError"),
    "parity.steps": ("Recipe",),
    "parity.tolerance": ("TensorCheck",),
    "parity.trajectory": ("Trajectory", "assert_trajectory", "follow"),
    "parity.transfer": ("to_numpy", "to_torch"),
}
_HOME = {name: home for home, names in _NAMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'parity' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
