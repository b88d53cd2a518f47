"""`parity kernels`: a fresh process for each set, one matrix, and no set that is not there."""

from __future__ import annotations

import io
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from parity import kernel_process, kernels
from parity.__main__ import main
from parity.kernel_process import refused
from parity.kernels import SETS, KernelSet
from tests.forked import run

PLAIN = KernelSet("plain", variables={"ATEN_CPU_CAPABILITY": "default"})
ABSENT = KernelSet("absent", variables={"OPENBLAS_CORETYPE": "Vax"})


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(kernels, "SETS", (SETS[0], PLAIN, ABSENT))


def test_each_set_has_its_row_and_what_is_not_offered_is_named(monkeypatch, capsys) -> None:
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")  # of no concern to the native set
    pairs = ["factories:wrong_with_plain_kernels", "factories:right", "batch=3"]
    assert main(["kernels", *pairs]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[1:3] == ["   1 factories:wrong_with_plain_kernels", "   2 factories:right batch=3"]
    native, plain = (line.split() for line in out[4:6])
    assert native[0] == "native"
    assert all(0 < float(share) <= 1 for share in native[1:])
    assert plain[:2] == ["plain", "0"]  # the culprit, the first layer
    assert float(plain[2]) > 1 >= float(plain[3])
    assert out[7].startswith("  absent: OPENBLAS_CORETYPE=Vax is answered by ")
    assert out[9].startswith(
        "  factories:wrong_with_plain_kernels under plain: culprit: 0 (Linear)"
    )
    assert len(out) == 10


def forked(command: list[str], **options) -> subprocess.CompletedProcess[str]:
    """Do as subprocess.run with the program of a set; its kernels are those that are loaded."""
    work = partial(answer, command[-1], options["input"], sys.path)
    return run(Path.cwd(), work)


def answer(work: str, job: str, path: list[str]) -> None:
    sys.path[:], sys.stdin = path, io.StringIO(job)
    kernel_process.main(work)


def test_the_sets_asked_for_are_those_that_run(monkeypatch, capsys) -> None:
    monkeypatch.setattr(kernels, "subprocess", SimpleNamespace(run=forked))
    assert main(["kernels", "factories:right", "factories:several", "--set", "native"]) == 1
    assert main(["kernels", "factories:right", "--set", "native"]) == 0
    out, error = capsys.readouterr()
    assert out.count("\nnative ") == 2
    assert error.splitlines() == ["computing with native kernels"] * 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--set", "sparc"], "no set of kernels 'sparc': there are native, plain, absent"),
        (["factories:right", "batch"], "'batch' is not an argument for a factory"),
        (["factories:rigt", "--set", "native"], "rigt is not in factories"),
        (
            ["factories:dying", "--set", "native"],
            "the process under native ended with status 9: out of luck",
        ),
    ],
)
def test_a_mistake_is_status_2_and_one_sentence(words, sentence, monkeypatch, capsys) -> None:
    monkeypatch.setattr(kernels, "subprocess", SimpleNamespace(run=forked))
    assert main(["kernels", *words]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    *_, last = error.splitlines()
    assert last.startswith("parity: ")
    assert sentence in last
    assert "Traceback" not in error


def test_a_sets_variables_are_words_for_env(capsys) -> None:
    assert main(["kernels", "--environment", "plain"]) == 0
    words = capsys.readouterr().out.split()
    assert words[0] == "ATEN_CPU_CAPABILITY=default"
    assert "OMP_NUM_THREADS=1" in words
    for each in SETS:
        assert not any(" " in value for value in each.settings.values()), each.name


ANSWERS = {
    "OPENBLAS_CORETYPE": "Haswell",
    "ONEDNN_MAX_CPU_ISA": "Intel AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "OFF",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3",
}


@pytest.mark.parametrize(
    ("variable", "granted", "denied"),
    [
        ("OPENBLAS_CORETYPE", "Zen", "SkylakeX"),
        ("ONEDNN_MAX_CPU_ISA", "AVX2", "AVX512_CORE"),
        ("ATEN_CPU_CAPABILITY", "avx2", "avx512"),
        ("MKL_CBWR", "OFF", "AVX2"),
        ("NPY_DISABLE_CPU_FEATURES", "X86_V4,AVX512F", "X86_V4,X86_V3"),
    ],
)
def test_a_set_counts_only_if_every_library_took_it_up(variable, granted, denied) -> None:
    assert refused({variable: granted}, ANSWERS) == ""
    answer = ANSWERS[variable]
    assert refused({variable: denied}, ANSWERS) == f"{variable}={denied} is answered by {answer}"
