"""What the configuration says about device, mode, precision and determinism."""

from __future__ import annotations

import os
import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from training import environment
from training.backends.torch.capture import RECORDERS, GraphRecorder
from training.config.schema import Config, TorchBackendConfig
from training.errors import ConfigError

#: What torch.compile needs: the language, the variable that names a compiler, and usual names.
COMPILERS = {
    "cpu": ("C++", "CXX", ("g++", "clang++", "c++", "cl")),
    "cuda": ("C", "CC", ("gcc", "clang", "cc", "cl")),
}


@dataclass(frozen=True)
class Execution:
    """How the steps are carried out."""

    device: str  # "cpu" or "cuda"
    threads: int
    graph: bool  # whether in the mode of CUDA graphs (on a CPU: the same steps, not recorded)
    compile: bool
    precision: str  # "float32", "tf32" or "bf16"

    @property
    def captured(self) -> str | None:
        """Return the device whose graphs hold the steps, or None."""
        return self.device if self.graph and self.device in RECORDERS else None

    def recorder(self) -> GraphRecorder | None:
        """Return what records the steps, or None where they are called one by one."""
        return RECORDERS[self.device]() if self.captured else None

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what a reader of the run's record has to know."""
        notes = []
        if self.graph and not self.captured:
            notes.append("mode graph without a CUDA device: its steps are called one by one")
        if self.precision != "float32":
            notes.append(f"precision {self.precision}: the twins agree less than in float32")
        return tuple(notes)

    def autocast(self) -> AbstractContextManager:
        """Return the context in which the network is called."""
        if self.precision != "bf16":
            return nullcontext()
        return torch.autocast(self.device, torch.bfloat16)


def prepare(config: Config, processes: int = 1) -> Execution:
    """Choose the device and set torch up, where so many processes share the work.

    Raises ConfigError if the device, the mode, the precision or the compiler cannot be had.
    """
    backend = config.backend
    assert isinstance(backend, TorchBackendConfig)
    device = _choose_device(config.device)
    if processes > 1:
        _share(device, backend)
    if backend.deterministic:  # cuBLAS reads it when the device is first used
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(backend.deterministic)
    torch.backends.cudnn.deterministic = backend.deterministic
    if device == "cpu":
        environment.keep_freed_memory()
    here = min(processes, environment.local_processes())
    threads = backend.threads or max(1, environment.available_cores() // here)
    torch.set_num_threads(threads)
    if backend.precision == "tf32" and device == "cpu":
        raise ConfigError("backend.precision=tf32 needs a CUDA device: use float32 or bf16 here")
    torch.backends.cuda.matmul.allow_tf32 = backend.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = backend.precision == "tf32"
    if backend.compile:
        _check_compiler(device)
    graph = backend.mode == "graph"
    if backend.mode == "auto":
        graph = device == "cuda" and processes == 1
    return Execution(device, threads, graph, backend.compile, backend.precision)


def _share(device: str, backend: TorchBackendConfig) -> None:
    """Give this process a CUDA device of its own, and refuse what several cannot do."""
    refused = {"compile=true": backend.compile, "mode=graph": backend.mode == "graph"}
    for setting, chosen in refused.items():
        if chosen:
            words = f"backend.{setting} cannot be used with several processes"
            raise ConfigError(f"{words}: leave it out")
    number, count = environment.local_rank(), torch.cuda.device_count()
    if device == "cuda" and number >= count:
        words = f"there are more processes than CUDA devices on this machine ({count})"
        raise ConfigError(f"device=cuda: {words}: use --nproc_per_node={count}, or device=cpu")
    if device == "cuda":
        torch.cuda.set_device(number)


def _choose_device(wanted: str) -> str:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda: torch finds no CUDA device here (use device=cpu or auto)")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def _check_compiler(device: str) -> None:
    """Find what torch.compile needs; Triton, its way to CUDA, builds a launcher in C."""
    language, variable, names = COMPILERS[device]
    named = os.environ.get(variable)
    if not any(shutil.which(name) for name in ([named] if named else names)):
        words = f"needs a {language} compiler on {device}: install {' or '.join(names[:2])}"
        raise ConfigError(f"backend.compile=true {words}, or leave the setting out")
    # What was compiled for other runs of this process counts towards a limit, beyond which torch
    # compiles no more.
    torch.compiler.reset()
