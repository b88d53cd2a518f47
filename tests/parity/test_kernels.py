"""`parity kernels`: a fresh process for each set, one matrix, and no set that is not there."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from parity import kernel_process, kernels, networks
from parity.__main__ import main
from parity.assertions import assert_agreement
from parity.kernel_process import answering, check, degenerate, refused
from parity.kernels import SETS, KernelSet
from parity.pair import load_pair
from parity.protocol import ParityError
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


def test_a_process_is_told_its_job_and_its_threads(capfd) -> None:
    two = KernelSet("two", threads=2, variables={"ATEN_CPU_CAPABILITY": "default"})
    answer = kernels.run("factories:echo", two, {"of": "mine"})
    job = {"of": "mine", "threads": 2, "variables": {"ATEN_CPU_CAPABILITY": "default"}}
    assert answer == {"job": job, "torch": 2, "blas": 2}
    assert capfd.readouterr() == ("", "computing with two kernels\n")


def test_a_process_has_the_sets_variables_and_no_others(monkeypatch) -> None:
    asked: dict[str, Any] = {}

    def answered(command, **options):
        asked.update(options, command=command)
        return subprocess.CompletedProcess(command, 0, '{"a": 1}', "")

    monkeypatch.setattr(subprocess, "run", answered)
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    monkeypatch.setenv("UNRELATED", "kept")
    monkeypatch.setattr(sys, "path", ["", "/modules"])
    assert kernels.run("a:b", replace(PLAIN, threads=3), {"x": [1]}) == {"a": 1}
    assert asked["command"] == [sys.executable, "-m", "parity.kernel_process", "a:b"]
    variables = dict(PLAIN.variables)
    assert json.loads(asked["input"]) == {"x": [1], "threads": 3, "variables": variables}
    environment = asked["env"]
    assert "MKL_CBWR" not in environment
    assert environment["UNRELATED"] == "kept"
    assert environment["PYTHONPATH"] == f"{os.getcwd()}{os.pathsep}/modules"
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    assert {name: environment[name] for name in (*variables, *threads)} == {
        **variables,
        **dict.fromkeys(threads, "3"),
    }


@pytest.mark.parametrize(
    ("status", "out", "error", "sentence"),
    [
        (3, "", " \n", "the process under plain ended with status 3: without a word"),
        (-9, "{}", "first\nlast\n", "the process under plain ended with status -9: last"),
        (0, '{"error": "no such pair"}', "warned", "no such pair"),
    ],
)
def test_a_process_that_fails_is_one_sentence(monkeypatch, status, out, error, sentence) -> None:
    done = subprocess.CompletedProcess([], status, out, error)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(ParityError) as caught:
        kernels.run("a:b", PLAIN, {})
    assert str(caught.value) == sentence


def test_work_that_nobody_waits_for_is_not_begun(monkeypatch) -> None:
    """One worker; what it does when the first answer has come is let go after the end is said."""
    released, begun = Event(), list[int]()

    class Pool(ThreadPoolExecutor):
        def __init__(self, workers: int) -> None:
            assert workers == os.cpu_count()
            super().__init__(1)

        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            released.set()
            super().shutdown(wait=wait)

    def run(work: str, chosen: KernelSet, job: dict[str, Any]) -> dict[str, Any]:
        assert (work, chosen) == ("a:b", PLAIN)
        begun.append(job["number"])
        assert job["number"] == 0 or released.wait(60)
        return {"of": job["number"]}

    monkeypatch.setattr(kernels, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(kernels, "run", run)
    jobs = [(PLAIN, {"number": number}) for number in range(9)]
    answers = kernels.run_each("a:b", jobs)
    assert next(answers) == (PLAIN, {"of": 0})
    answers.close()  # type: ignore[attr-defined]
    assert len(begun) <= 2
    assert [answer["of"] for _, answer in kernels.run_each("a:b", jobs)] == [*range(9)]


MATRIX = """\
a number: agrees, with the largest share of a budget used; a name: the culprit
   1 some:pair
   2 other:pair size=3 path=a:b
                     1                 2
native            0.50              0.25
plain             0.75  conv, bias 1e+02
left out, because the libraries here do not offer these kernels:
  absent: it is not there
disagreements:
  other:pair size=3 path=a:b under plain: culprit: conv
"""


def test_the_matrix_has_a_row_for_each_set(monkeypatch, capsys) -> None:
    asked: list[Any] = []

    def run(work: str, chosen: KernelSet, job: dict[str, Any]) -> dict[str, Any]:
        asked.append((work, chosen.name, job))
        if chosen is ABSENT:
            return {"lacking": "it is not there"}
        wrong = {"shown": "conv, bias 1e+02", "message": "culprit: conv"}
        right = [{"shown": share, "message": ""} for share in ("0.50", "0.25", "0.75")]
        cells = right[:2] if chosen is not PLAIN else [right[2], wrong]
        return {"columns": dict(zip(job["columns"], cells, strict=True))}

    monkeypatch.setattr(kernels, "run", run)
    words = ["some:pair", "other:pair", "size=3", "path=a:b"]
    assert main(["kernels", *words]) == 1
    assert capsys.readouterr().out == MATRIX
    columns = {
        "some:pair": [("some:pair", {})],
        "other:pair size=3 path=a:b": [("other:pair", {"size": 3, "path": "a:b"})],
    }
    assert sorted(name for _, name, _ in asked) == ["absent", "native", "plain"]
    assert all(work == "parity.kernel_process:check" for work, _, _ in asked)
    assert all(job == {"columns": columns} for *_, job in asked)
    assert main(["kernels", *words, "--set", "native", "--set", "absent"]) == 0
    lines = MATRIX.splitlines(keepends=True)
    native = "native  0.50  0.25\n"
    shown = capsys.readouterr().out.splitlines(keepends=True)
    assert shown[:3] == lines[:3]
    assert shown[4].split() == native.split()
    assert shown[5:] == lines[6:8]
    assert main(["kernels", *words, "--set", "native"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_the_projects_networks_are_tried_on_ordinary_and_on_degenerate_images() -> None:
    columns = kernels.project_columns()
    assert list(columns) == [
        f"{case.name}({','.join(map(str, case.arguments.values()))})"
        if case.arguments
        else case.name
        for case in networks.network_cases()
    ]
    case = next(case for case in networks.network_cases() if case.arguments)
    arguments = {"name": case.name, **case.arguments}
    ((_, requests),) = [each for each in columns.items() if each[0].startswith(f"{case.name}(")][:1]
    assert requests == [
        ("parity.networks:pair", arguments),
        ("parity.networks:pair", {**arguments, "dtype": "float64"}),
        *(
            ("parity.kernel_process:degenerate", {**arguments, "inputs": inputs})
            for inputs in ("blank", "constant", "denormal")
        ),
    ]


def test_a_cell_is_the_largest_share_or_the_culprits() -> None:
    columns = {
        "right": [["factories:right", {}], ["factories:right", {"batch": 1}]],
        "wrong": [["factories:right", {}], ["factories:wrong", {}]],
    }
    cells = check({"columns": columns, "threads": 1})["columns"]
    pairs = [load_pair("factories:right", {"batch": batch}) for batch in (6, 1)]
    verdicts = [assert_agreement(pair.setting(mode)) for pair in pairs for mode in (True, False)]
    share = max(verdict.worst.share for verdict in verdicts)
    assert cells["right"] == {"shown": f"{share:.2f}", "message": ""}
    culprit, worst = cells["wrong"]["shown"].split()
    assert culprit == "0"
    assert float(worst) > 1000
    assert cells["wrong"]["message"].startswith("culprit: 0 (Linear), wrong by itself: the pair")
    assert "\n" not in cells["wrong"]["message"]


def test_a_network_with_threads_is_given_those_of_its_set(monkeypatch) -> None:
    import factories

    class Threaded(factories.numpy_models.Linear):
        threads = 1
        used: ClassVar[set[int]] = set()

        def forward(self, x):
            self.used.add(self.threads)
            return super().forward(x)

    made = torch.nn.Linear(4, 3), Threaded(4, 3), factories.INPUTS
    monkeypatch.setattr(factories, "right", lambda: made)
    check({"columns": {"right": [["factories:right", {}]]}, "threads": 3})
    assert Threaded.used == {3}


@pytest.mark.parametrize(
    ("inputs", "values"),
    [("blank", lambda x: 0 * x), ("constant", lambda x: 0 * x + 0.7), ("denormal", lambda x: x)],
)
def test_degenerate_images(inputs, values) -> None:
    arguments = {"name": "example_unit", "batch": 2, "seed": 4}
    made, ordinary = degenerate(inputs, **arguments), networks.pair(**arguments)
    assert made.name == f"{ordinary.name}, {inputs}"
    scale = np.float32(1e-40) if inputs == "denormal" else 1
    expected = (values(ordinary.inputs) * scale).astype(np.float32)
    np.testing.assert_array_equal(made.inputs, expected, strict=True)
    state = ordinary.torch_module.state_dict()
    assert all(torch.equal(state[n], v) for n, v in made.torch_module.state_dict().items())


def test_the_libraries_are_asked_which_kernels_they_use() -> None:
    answers = answering()
    assert answers["ATEN_CPU_CAPABILITY"] == torch.backends.cpu.get_cpu_capability().lower()
    assert list(answers) == list(ANSWERS)
    if torch.backends.mkldnn.is_available():
        assert answers["ONEDNN_MAX_CPU_ISA"].startswith("Intel ")
    if torch.backends.mkl.is_available():
        assert answers["MKL_CBWR"].isalnum()
