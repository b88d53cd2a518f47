"""The process under one set of kernels: asks the libraries what they took up, then checks pairs."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from importlib import import_module
from pkgutil import resolve_name
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from parity.assertions import assert_agreement
from parity.pair import Pair, load_pair
from parity.protocol import DisagreementError, ParityError

_ALIASES = {"Zen": {"Zen", "Haswell"}}  # OpenBLAS without kernels for Zen gives it Haswell's
_ISAS = {
    "SSE41": "Intel SSE4.1",
    "AVX": "Intel AVX",
    "AVX2": "Intel AVX2",
    "AVX512_CORE": "Intel AVX-512 with AVX512BW, AVX512VL, and AVX512DQ extensions",
}


def main(work: str) -> None:
    """Read a job, do the work under its kernels and write the answer; see `parity.kernels.run`."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)  # what factories and libraries print must not mix with the answer
        job = json.load(sys.stdin)
        lacking = refused(job["variables"], answering())
        try:
            if lacking:
                answer: dict[str, Any] = {"lacking": lacking}
            else:
                torch.set_num_threads(job["threads"])
                with threadpool_limits(job["threads"], "blas"):
                    answer = resolve_name(work)(job)
        except ParityError as error:
            answer = {"error": str(error)}
        json.dump(answer, out)


def answering() -> dict[str, str]:
    """Ask the libraries loaded in this process which kernels they use, by variable."""
    libraries = [each for each in threadpool_info() if each["internal_api"] == "openblas"]
    said = _verbose()
    isa = re.search(r"cpu,isa:(.*)", said)
    mode = re.search(r"CNR:(\w+)", said)
    return {
        "OPENBLAS_CORETYPE": libraries[0]["architecture"] if libraries else "no OpenBLAS",
        "ONEDNN_MAX_CPU_ISA": isa[1] if isa else "no oneDNN",
        "ATEN_CPU_CAPABILITY": torch.backends.cpu.get_cpu_capability().lower(),
        "MKL_CBWR": mode[1] if mode else "no MKL",
        "NPY_DISABLE_CPU_FEATURES": ",".join(_numpy_features()),
    }


def refused(variables: Mapping[str, str], answers: Mapping[str, str]) -> str:
    """Return what the libraries did not take up, in words; nothing if they took up everything."""
    for variable, asked in variables.items():
        answer = answers[variable]
        if variable == "NPY_DISABLE_CPU_FEATURES":
            taken = not set(asked.split(",")) & set(answer.split(","))
        elif variable == "ONEDNN_MAX_CPU_ISA":
            taken = answer == _ISAS[asked]
        else:
            taken = answer in _ALIASES.get(asked, {asked})
        if not taken:
            return f"{variable}={asked} is answered by {answer}"
    return ""


def _verbose() -> str:
    """Return what oneDNN and MKL say of themselves while they compute; they write to stdout."""
    kept = os.dup(1)
    with tempfile.TemporaryFile() as file, ExitStack() as stack:
        sys.stdout.flush()
        os.dup2(file.fileno(), 1)
        try:
            if torch.backends.mkldnn.is_available():
                mkldnn = torch.backends.mkldnn
                stack.enter_context(mkldnn.verbose(mkldnn.VERBOSE_ON))
            if torch.backends.mkl.is_available():
                mkl = torch.backends.mkl
                stack.enter_context(mkl.verbose(mkl.VERBOSE_ON))
            images, square = torch.ones(8, 8, 8, 8), torch.ones(64, 64)
            _ = torch.conv2d(images, images), square @ square
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        file.seek(0)
        return file.read().decode(errors="replace")


def _numpy_features() -> list[str]:
    """Return the instruction sets beyond its baseline that NumPy uses here."""
    core: Any = import_module("numpy._core._multiarray_umath")  # as numpy.show_runtime does
    return [name for name in core.__cpu_dispatch__ if core.__cpu_features__[name]]


def check(job: dict[str, Any]) -> dict[str, Any]:
    """Hold the pairs of every column together, each in its modes."""
    return {"columns": {n: _column(pairs, job["threads"]) for n, pairs in job["columns"].items()}}


def _column(requests: list[Any], threads: int) -> dict[str, str]:
    """Return the cell to show: the largest share of a budget, or the culprits and the message."""
    share = 0.0
    for spec, arguments in requests:
        for train in load_pair(spec, arguments).modes:
            pair = load_pair(spec, arguments)  # anew: no mode inherits the other's state
            if hasattr(pair.numpy_network, "threads"):
                pair.numpy_network.threads = threads
            try:
                found = assert_agreement(pair.setting(train))
            except DisagreementError as error:
                culprits, worst = ", ".join(error.culprits) or "unknown", error.finding.worst.share
                message = str(error).splitlines()[0]
                return {"shown": f"{culprits} {worst:.2g}", "message": message}
            share = max(share, found.worst.share)
    return {"shown": f"{share:.2f}", "message": ""}


def degenerate(inputs: str, **arguments: Any) -> Pair:
    """Return a pair of `parity.networks` on blank, constant or denormal images.

    On these many maxima tie but for rounding.
    """
    from parity.networks import pair

    made = pair(**arguments)
    values = {"blank": 0.0, "constant": 0.7, "denormal": 1e-40 * made.inputs}[inputs]
    images = np.zeros_like(made.inputs) + np.asarray(values, made.inputs.dtype)
    return replace(made, inputs=images, name=f"{made.name}, {inputs}")


if __name__ == "__main__":
    main(sys.argv[1])
