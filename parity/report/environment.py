"""Where the figures were measured."""

from __future__ import annotations

import platform

import torch

from training.environment import available_cores, blas, processor, versions


def environment() -> dict[str, str]:
    """Return versions, processor and matrix libraries of this process."""
    numpy_blas = blas()
    return {
        **versions("torch"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": processor(),
        "cores available": str(available_cores()),
        "NumPy's BLAS": f"{numpy_blas.get('library')}, {numpy_blas.get('kernels')} kernels",
        "torch's BLAS": "MKL" if torch.backends.mkl.is_available() else "built in, without MKL",
        "threads used": str(torch.get_num_threads()),
    }
