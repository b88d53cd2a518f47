"""Where the figures were measured."""

from __future__ import annotations

import platform
from importlib import metadata

import numpy as np
import torch
from threadpoolctl import threadpool_info

from training.environment import available_cores, processor


def environment() -> dict[str, str]:
    """Return versions, processor and matrix libraries of this process."""
    return {
        "lenet-twins": _version("lenet-twins"),
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "torch": torch.__version__,
        "System": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Processor": processor(),
        "Cores available": str(available_cores()),
        "NumPy's BLAS": _numpy_blas(),
        "torch's BLAS": "MKL" if torch.backends.mkl.is_available() else "built in, without MKL",
        "Threads used": str(torch.get_num_threads()),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed, run from its source"


def _numpy_blas() -> str:
    for library in threadpool_info():
        if library["user_api"] == "blas" and "numpy" in library["filepath"]:
            kernels = library.get("architecture") or "unknown"
            return f"{library['internal_api']} {library['version']}, {kernels} kernels"
    found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[index]
    return f"{found.get('name', 'unknown')} {found.get('version', '')}".strip()
