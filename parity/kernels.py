"""``python -m parity kernels``: the same check under every set of kernels this machine offers.

OpenBLAS, oneDNN, ATen, MKL and NumPy each choose their kernels by the processor, and environment
variables choose others. Other kernels add up in another order, so each set stands for another
processor, and a verdict that changes from set to set was rounding's and not the network's. The
libraries read their variables once, when they are loaded: each set has a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from parity.protocol import ParityError

_WITHOUT_AVX512 = "X86_V4,AVX512_ICL,AVX512_SPR,AVX512F,AVX512CD,AVX512_SKX"  # NumPy renamed them
_VARIABLES = (
    "OPENBLAS_CORETYPE",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class KernelSet:
    """Kernels, by environment variables, and the threads of torch and both matrix libraries."""

    name: str
    threads: int = 1
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, str]:
        """The variables, with those that set the number of threads."""
        return {**self.variables, **dict.fromkeys(_THREADS, str(self.threads))}

    def environment(self) -> dict[str, str]:
        """Return the environment of a process that is to compute with this set.

        Modules are found where this process finds them.
        """
        inherited = {k: v for k, v in os.environ.items() if k not in _VARIABLES}
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        return {**inherited, **self.settings, "PYTHONPATH": path}


_SSE4 = {
    "OPENBLAS_CORETYPE": "Nehalem",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "NPY_DISABLE_CPU_FEATURES": f"X86_V3,AVX2,FMA3,{_WITHOUT_AVX512}",
}
_AVX2 = {
    "OPENBLAS_CORETYPE": "Haswell",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "AVX2",
    "NPY_DISABLE_CPU_FEATURES": _WITHOUT_AVX512,
}
_AVX512 = {
    "OPENBLAS_CORETYPE": "SkylakeX",
    "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
    "ATEN_CPU_CAPABILITY": "avx512",
    "MKL_CBWR": "AVX512",
}

SETS = (
    KernelSet("native"),
    KernelSet("native-2-threads", threads=2),
    KernelSet("native-3-threads", threads=3),
    KernelSet("avx512", variables=_AVX512),
    KernelSet("avx2", variables=_AVX2),
    KernelSet("avx2-2-threads", threads=2, variables=_AVX2),
    KernelSet("sse4", variables=_SSE4),
    KernelSet("sse4-3-threads", threads=3, variables=_SSE4),
    # Mixed: each library with kernels that the others do not match.
    KernelSet("numpy-haswell", variables={"OPENBLAS_CORETYPE": "Haswell"}),
    KernelSet("zen", variables={"OPENBLAS_CORETYPE": "Zen", "ONEDNN_MAX_CPU_ISA": "AVX2"}),
    KernelSet("torch-avx2", variables={k: _AVX2[k] for k in list(_AVX2)[1:3]}),
    KernelSet("torch-sse4", variables={k: _SSE4[k] for k in list(_SSE4)[1:4]}),
)


def kernel_set(name: str) -> KernelSet:
    """Return a set by its name.

    Raises:
        ParityError: naming the sets, if there is none of this name.
    """
    for each in SETS:
        if each.name == name:
            return each
    raise ParityError(
        f"there is no set of kernels {name!r}: there are {', '.join(s.name for s in SETS)}"
    )


#: A pair to hold together, in the words of ``python -m parity check``: factory and arguments.
Request = tuple[str, dict[str, Any]]


def command(words: Sequence[str], names: Sequence[str], environment: str | None) -> int:
    """Check factories with their arguments, or the project's networks, under sets of kernels.

    By default under all sets. Prints the matrix, or just an environment's variables, and returns
    the exit status.
    """
    if environment:
        print("\n".join(f"{k}={v}" for k, v in kernel_set(environment).settings.items()))
        return 0
    chosen = [kernel_set(name) for name in names] or list(SETS)
    columns = _requested(words) if words else project_columns()
    rows, lacking = dict[str, list[dict[str, str]]](), list[str]()
    jobs = [(each, {"columns": columns}) for each in chosen]
    for each, answer in run_each("parity.kernel_process:check", jobs):
        if "lacking" in answer:
            lacking.append(f"  {each.name}: {answer['lacking']}")
        else:
            rows[each.name] = [answer["columns"][name] for name in columns]
    print("a number: agrees, with the largest share of a budget used; a name: the culprit")
    print("\n".join(f"{number:4} {name}" for number, name in enumerate(columns, start=1)))
    lines = {"": [str(number + 1) for number in range(len(columns))]}
    lines |= {name: [cell["shown"] for cell in row] for name, row in rows.items()}
    widths = [max(map(len, cells)) for cells in zip(*lines.values(), strict=True)]
    for name, line in lines.items():
        cells = zip(line, widths, strict=True)
        print(f"{name:16}" + "".join(f"  {cell:>{width}}" for cell, width in cells))
    if lacking:
        print(
            "left out, because the libraries here do not offer these kernels:", *lacking, sep="\n"
        )
    wrong = [
        f"  {column} under {name}: {cell['message']}"
        for name, row in rows.items()
        for column, cell in zip(columns, row, strict=True)
        if cell["message"]
    ]
    if wrong:
        print("disagreements:", *wrong, sep="\n")
    return 1 if wrong else 0


def run_each(
    work: str, jobs: Sequence[tuple[KernelSet, dict[str, Any]]]
) -> Iterator[tuple[KernelSet, dict[str, Any]]]:
    """Do as `run` with each job, as many at once as there are cores; give the answers in order."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            answers = pool.map(lambda job: run(work, *job), jobs)
            for (chosen, _), answer in zip(jobs, answers, strict=True):
                yield chosen, answer
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def run(work: str, chosen: KernelSet, job: dict[str, Any]) -> dict[str, Any]:
    """Call a function, "module:function", from and to JSON, in a fresh process under a set.

    The answer has "lacking", a sentence, where the libraries did not take up the kernels asked for
    (see `parity.kernel_process.answering`).

    Raises:
        ParityError: if the process says that the job cannot be done, or dies.
    """
    print(f"computing with {chosen.name} kernels", file=sys.stderr)
    job = {**job, "threads": chosen.threads, "variables": dict(chosen.variables)}
    done = subprocess.run(
        [sys.executable, "-m", "parity.kernel_process", work],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        env=chosen.environment(),
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["without a word"]
        raise ParityError(
            f"the process under {chosen.name} ended with status {done.returncode}: {last[0]}"
        )
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise ParityError(answer["error"])
    return answer


def project_columns() -> dict[str, list[Request]]:
    """Return, for each of the project's networks, ordinary inputs and those that make ties."""
    from parity.networks import network_cases

    columns = {}
    for case in network_cases():
        arguments = {"name": case.name, **case.arguments}
        options = f"({','.join(map(str, case.arguments.values()))})" if case.arguments else ""
        columns[case.name + options] = [
            ("parity.networks:pair", arguments),
            ("parity.networks:pair", {**arguments, "dtype": "float64"}),
            *(
                ("parity.kernel_process:degenerate", {**arguments, "inputs": inputs})
                for inputs in ("blank", "constant", "denormal")
            ),
        ]
    return columns


def _requested(words: Sequence[str]) -> dict[str, list[Request]]:
    from parity.check import arguments_of

    groups: list[list[str]] = []
    for word in words:
        if ":" in word.partition("=")[0] or not groups:
            groups.append([])
        groups[-1].append(word)
    return {" ".join(group): [(group[0], arguments_of(group[1:]))] for group in groups}
