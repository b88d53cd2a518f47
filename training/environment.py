"""The process around a run: how BLAS is started, how many threads, and what to record of both."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path


def available_cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def prepare_blas(backend: str) -> dict[str, str]:
    """Set OpenBLAS's variables for the NumPy backend; return those in force.

    OpenBLAS reads them once, when NumPy is imported, so this must come first. Its threads do not
    help these networks, whose batch is split over Python threads instead. On AMD's processors with
    AVX-512 it falls back to AVX2 kernels unless told otherwise. What the user has set is kept.
    """
    if backend == "numpy":
        if "numpy" in sys.modules:
            return blas_variables()
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        if _is_amd_with_avx512():
            os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")
    return blas_variables()


def blas_variables() -> dict[str, str]:
    """Return the OPENBLAS_* variables of this process."""
    return {name: value for name, value in os.environ.items() if name.startswith("OPENBLAS_")}


def versions(backend: str) -> dict[str, str]:
    """Return the versions of Python and of the packages that a run's numbers depend on."""
    packages = ["numpy", "hydra-core", "safetensors"] + (["torch"] if backend == "torch" else [])
    found = {"python": platform.python_version()}
    for package in ["lenet-twins", *packages]:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    for line in _cpuinfo():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _is_amd_with_avx512() -> bool:
    lines = _cpuinfo()
    vendor = any(line.startswith("vendor_id") and "AuthenticAMD" in line for line in lines)
    return vendor and any(line.startswith("flags") and " avx512f " in line for line in lines)


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
