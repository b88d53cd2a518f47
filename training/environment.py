"""The process around a run: how BLAS is started, how many threads, and what to record of both."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
#: The configuration's files: in this package where it is installed, beside it in a checkout.
CONF = _HERE / "conf" if (_HERE / "conf").is_dir() else _HERE.parent / "conf"

# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def available_cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processes() -> int:
    """Return how many processes share the run, as torchrun says; 1 without it."""
    return _number("WORLD_SIZE", 1)


def rank() -> int:
    """Return which of the run's processes this is; 0 is the one that leads."""
    return _number("RANK", 0) if processes() > 1 else 0


def local_processes() -> int:
    """Return how many of the run's processes are on this machine."""
    return _number("LOCAL_WORLD_SIZE", processes()) if processes() > 1 else 1


def local_rank() -> int:
    """Return which of those this is."""
    return _number("LOCAL_RANK", rank()) if processes() > 1 else 0


def prepare_blas(backend: str) -> None:
    """Keep OpenBLAS to one thread for the NumPy backend, unless the user has set a number.

    OpenBLAS reads its variable once, when NumPy is imported, so this must come first. Its own
    threads do not help these networks, whose batch is split over processes instead. Which of
    its kernels to use is left to it: it recognises the processor.
    """
    if backend == "numpy" and "numpy" not in sys.modules:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def keep_freed_memory() -> bool:
    """Have the C library keep what is freed for the next allocation; return whether it does.

    glibc gives large blocks back to the system at once, and each step's tensors are then paged in
    anew, which takes up to a quarter of a CPU step of torch. What the user has set through
    MALLOC_* variables stands.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not every C library has it
    largest = 2**31 - 1
    return bool(
        mallopt and mallopt(_M_MMAP_THRESHOLD, largest) and mallopt(_M_TRIM_THRESHOLD, largest)
    )


def blas() -> dict[str, str]:
    """Return NumPy's BLAS library, its kernels, and the OPENBLAS_* variables of this process."""
    from threadpoolctl import threadpool_info

    found = {name: value for name, value in os.environ.items() if name.startswith("OPENBLAS_")}
    for pool in threadpool_info():
        if pool.get("user_api") == "blas":
            found["library"] = f"{pool['internal_api']} {pool['version']}"
            found["kernels"] = pool.get("architecture", "unknown")
    return found


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
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _number(name: str, otherwise: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else otherwise
