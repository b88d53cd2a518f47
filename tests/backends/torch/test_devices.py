"""How torch is set up: threads, devices, modes and precision, without a CUDA device as with one."""

from __future__ import annotations

import os

import pytest

from tests.support import compose
from training import environment
from training.backends.torch import devices, optimizers
from training.backends.torch.devices import Execution, prepare
from training.config.schema import Config
from training.errors import ConfigError

torch = pytest.importorskip("torch")


def config(*overrides: str) -> Config:
    return compose("backend=torch", "backend.threads=null", *overrides)


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch):
    """Let torch be set up for eight cores and undo all that is set."""
    monkeypatch.setattr(environment, "available_cores", lambda: 8)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    yield
    matmul.allow_tf32, cudnn.allow_tf32 = before
    torch.use_deterministic_algorithms(False)
    cudnn.deterministic = False
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


@pytest.fixture
def cuda(monkeypatch) -> list[int]:
    """Let there seem to be two CUDA devices; holds which of them were chosen."""
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    return chosen


@pytest.mark.parametrize(
    ("setting", "processes", "here", "threads"),
    [("null", 1, 1, 8), ("null", 4, 2, 4), ("null", 9, 9, 1), ("3", 1, 1, 3), ("3", 4, 2, 3)],
)
def test_the_processes_of_a_machine_share_its_cores(
    setting, processes, here, threads, monkeypatch
) -> None:
    used = []
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    monkeypatch.setattr(environment, "local_processes", lambda: here)
    prepared = prepare(config("device=cpu", f"backend.threads={setting}"), processes)
    assert used == [prepared.threads] == [threads]


@pytest.mark.parametrize(
    ("settings", "processes", "graph"),
    [
        (("device=cuda",), 1, True),
        (("device=cuda",), 2, False),
        (("device=cuda", "backend.mode=eager"), 1, False),
        (("device=cpu",), 1, False),
        (("device=cpu", "backend.mode=graph"), 1, True),
    ],
)
def test_which_steps_are_recorded(settings, processes, graph, cuda, monkeypatch) -> None:
    monkeypatch.setitem(devices.RECORDERS, "cuda", lambda: "of CUDA")
    prepared = prepare(config(*settings), processes)
    assert prepared.graph is graph
    assert prepared.captured == ("cuda" if graph and prepared.device == "cuda" else None)
    assert prepared.recorder() == ("of CUDA" if prepared.captured else None)


@pytest.mark.parametrize("device", ["auto", "cuda", "cpu"])
def test_the_device(device, cuda) -> None:
    assert prepare(config(f"device={device}")).device == ("cpu" if device == "cpu" else "cuda")
    assert cuda == []  # one process leaves the choice among several devices to the user


def test_without_a_device(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert prepare(config("device=auto")).device == "cpu"
    with pytest.raises(ConfigError, match="torch finds no CUDA device here"):
        prepare(config("device=cuda"))


@pytest.mark.parametrize("number", [0, 1])
def test_each_process_of_a_machine_has_a_device_of_its_own(number, cuda, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", str(number))
    prepare(config("device=cuda"), processes=2)
    assert cuda == [number]
    prepare(config("device=cpu"), processes=2)
    assert cuda == [number]


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_precision(precision, cuda) -> None:
    prepared = prepare(config("device=cuda", f"backend.precision={precision}"))
    allowed = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    assert allowed == (precision == "tf32",) * 2
    notes = (f"precision {precision}: the twins agree less than in float32",)
    assert prepared.notes == (() if precision == "float32" else notes)


def test_bf16_is_what_the_network_computes_in() -> None:
    for precision, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        execution = Execution("cpu", 1, graph=False, compile=False, precision=precision)
        with execution.autocast():
            assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


@pytest.mark.parametrize("wanted", [True, False])
def test_determinism_reaches_cublas(wanted) -> None:
    prepare(config("device=cpu", f"backend.deterministic={str(wanted).lower()}"))
    assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == (":4096:8" if wanted else None)
    assert torch.are_deterministic_algorithms_enabled() is wanted
    assert torch.backends.cudnn.deterministic is wanted


@pytest.mark.parametrize(
    ("device", "variable", "named", "there", "words"),
    [
        ("cpu", "CXX", None, "c++", None),
        ("cpu", "CXX", "mine", "mine", None),
        ("cpu", "CXX", "mine", "g++", r"a C\+\+ compiler on cpu: install g\+\+ or clang\+\+,"),
        ("cuda", "CC", None, "g++", "a C compiler on cuda: install gcc or clang,"),
        ("cuda", "CC", None, "clang", None),
    ],
)
def test_a_compiler_is_looked_for(device, variable, named, there, words, cuda, monkeypatch) -> None:
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    if named:
        monkeypatch.setenv(variable, named)
    monkeypatch.setattr(devices.shutil, "which", lambda name: name if name == there else None)
    reset = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: reset.append(True))
    setting = config(f"device={device}", "backend.compile=true")
    if words is None:
        assert prepare(setting).compile
        assert reset  # what earlier runs compiled counts towards a limit
        return
    with pytest.raises(ConfigError, match=words):
        prepare(setting)


@pytest.mark.parametrize(
    ("settings", "captured", "expected"),
    [
        (("optimizer=adam",), None, {"fused": True, "capturable": False, "lr": 0.001}),
        (("optimizer=adam",), "cpu", {"fused": True, "capturable": True}),
        (("optimizer=adam", "optimizer.eps_mode=uncorrected"), None, {"fused": False}),
        (("optimizer=sgd", "optimizer.nesterov=true"), None, {"fused": True, "nesterov": True}),
        (("optimizer=adagrad", "optimizer.lr_decay=0.5"), None, {"lr_decay": 0.5}),
    ],
)
def test_optimizers_get_their_settings_and_torchs_fused_kernels(
    settings, captured, expected
) -> None:
    parameters = [torch.nn.Parameter(torch.ones(2))]
    made = optimizers.make_optimizer(parameters, config(*settings).optimizer, captured)
    assert {key: made.defaults.get(key) for key in expected} == expected
    rate = made.param_groups[0]["lr"]
    assert isinstance(rate, torch.Tensor) == bool(captured)
    assert float(rate) == pytest.approx(config(*settings).optimizer.lr)
