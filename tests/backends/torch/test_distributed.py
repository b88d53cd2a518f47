"""A run in two processes: its result, its folder, and its end when one dies.

torchrun takes many seconds to start them: it does once, and is imitated elsewhere. Faults are
planted by faulty_rank.py.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest

from tests.forked import Forked, train
from tests.support import ROOT, assert_same_run, call, compose, metrics, shorten
from training.errors import ConfigError
from training.storage.checkpoint import load_checkpoint

torch = pytest.importorskip("torch")
from training.backends.torch.devices import prepare  # noqa: E402
from training.backends.torch.distributed import explain  # noqa: E402

#: Ten steps of sums in another order, and how far they may take losses, and parameters and buffers
#: by their norms. With tanh and averages, rounding stays rounding. ReLUs and maxima may turn it
#: into a decision: 8e-4 for lenet5_bn.
TOLERANCE = {"lenet5_tanh": 1e-5, "lenet5_bn": 1e-2, "deepcnn21": 1e-2}
NETWORKS = tuple(TOLERANCE)
#: Four steps and a fifth with one image, which is no process's but one.
BATCH = 23
IMAGES = 4 * BATCH + 1
FEW = f"{IMAGES}:31"
#: With momentum alone: Adam would make a step of the rounding in the gradient of a bias before a
#: batch normalisation, which is truly zero.
SETTINGS = (
    "data=digits",
    "device=cpu",
    "backend.threads=1",
    f"trainer.batch_size={BATCH}",
    "data.flip=0.5",
    "optimizer=sgd",
)
TIMING = ("seconds", "images_per_second")


class Launch:
    """Two ranks, forked, each thought to be on a machine if apart; one that fails ends the other.

    So does torchrun, with which `torchrun` below starts them.
    """

    def __init__(self, cwd: Path, *arguments: str, fault: str = "", apart: bool = False):
        size, started = {"WORLD_SIZE": "2", "FAULT": fault, "FEW": FEW}, perf_counter()
        meeting = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(_free_port())}
        local = 1 if apart else 2
        groups = {"LOCAL_WORLD_SIZE": str(local), "GROUP_WORLD_SIZE": str(2 // local)}
        ranks = [
            Forked(
                *(cwd, train, *arguments),
                **(size | meeting | groups),
                RANK=str(rank),
                LOCAL_RANK=str(rank % local),
            )
            for rank in range(2)
        ]
        for sentinel in wait([rank.process.sentinel for rank in ranks], 120):
            if any(rank.process.exitcode for rank in ranks if rank.process.sentinel == sentinel):
                for rank in ranks:
                    rank.process.terminate()
        self._set([rank.end() for rank in ranks])
        self.seconds = perf_counter() - started

    def _set(self, ends: Sequence[subprocess.CompletedProcess[str]]) -> None:
        self.output = "".join(end.stdout for end in ends)
        self.errors = "".join(end.stderr for end in ends)
        self.statuses = [end.returncode for end in ends]

    @property
    def said(self) -> list[str]:
        """The program's own lines on standard error, without torchrun's."""
        return [line for line in self.errors.splitlines() if line.startswith("train.py: ")]


class Torchrun(Launch):
    """What torchrun starts in two processes."""

    def __init__(self, cwd: Path, *arguments: str, fault: str):
        program = "tests/backends/faulty_rank.py"
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
                *("--nproc_per_node=2", str(ROOT / program), *arguments),
            ],
            cwd=cwd,
            env=os.environ | {"FAULT": fault, "FEW": FEW},
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        self._set([ended])


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(autouse=True, scope="module")
def _few() -> Iterator[None]:
    """Let the runs of this process be on as many images."""
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch, IMAGES, 31)
        yield


@pytest.fixture(scope="module")
def alone(place: Path) -> Path:
    """The networks trained by this process."""
    with pytest.MonkeyPatch.context() as patch:
        models = f"model={','.join(NETWORKS)}"
        jobs = ("--multirun", models, *SETTINGS, "trainer.epochs=2", "hydra.sweep.dir=alone")
        assert call(patch, place, *jobs) == 0
    return place / "alone"


@pytest.fixture(scope="module")
def shared(place: Path) -> Launch:
    """The same in two processes."""
    cwd = place / "shared"
    cwd.mkdir()
    models = f"model={','.join(NETWORKS)}"
    jobs = ("--multirun", models, *SETTINGS, "trainer.epochs=2", "hydra.sweep.dir=sweep")
    launch = Launch(cwd, *jobs)
    assert launch.statuses == [0, 0], launch.errors
    return launch


def difference(one: Path, other: Path) -> float:
    """The greatest relative difference of losses, parameters and buffers of two finished runs."""
    rows = [metrics(folder) for folder in (one, other)]
    losses = [[[row["train_loss"], row["test_loss"]] for row in each] for each in rows]
    states = [load_checkpoint(folder / "checkpoint.safetensors").state for folder in (one, other)]
    assert states[0].keys() == states[1].keys()
    pairs = [(states[0][n], states[1][n]) for n in states[0] if n.startswith("model.")]
    return max(
        np.linalg.norm(np.float64(ours) - theirs) / np.linalg.norm(theirs)
        for ours, theirs in (*zip(*map(np.ravel, losses), strict=True), *pairs)
    )


@pytest.mark.parametrize("network", NETWORKS)
def test_the_same_global_batch_gives_the_same_result(network, alone, shared, place):
    (ours,) = (place / "shared/sweep").glob(f"*_{network}_torch")
    assert difference(ours, alone / ours.name) < TOLERANCE[network]
    for row in metrics(ours):  # the image that one process alone has is counted, and once
        assert row["seconds"] * row["images_per_second"] == pytest.approx(IMAGES)


def test_one_process_speaks_and_writes(shared, place):
    assert shared.said == []
    assert shared.output.count("data: digits") == 2  # once for each size of image
    for network in NETWORKS:
        assert shared.output.count(f"{network} on torch (cpu, 1 thread)") == 1
    for epoch in (1, 2):
        assert shared.output.count(f"\nepoch {epoch}/2") == len(NETWORKS)
    assert [path.name for path in (place / "shared").iterdir()] == ["sweep"]
    folders = sorted((place / "shared/sweep").glob("*_torch"))
    assert [folder.name[2:-6] for folder in folders] == list(NETWORKS)
    notes = [json.loads((folder / "summary.json").read_text())["notes"] for folder in folders]
    assert notes == [["2 processes, gloo"]] * len(NETWORKS)


def test_a_killed_process_ends_the_job_and_one_goes_on(alone, place, monkeypatch, capsys):
    folder = place / "killed"
    model = ("model=lenet5_bn", *SETTINGS)
    assert call(monkeypatch, place, *model, "trainer.epochs=1", f"hydra.run.dir={folder}") == 0
    capsys.readouterr()
    on = (f"resume={folder}", "trainer.epochs=2", "trainer.checkpoint_every='1 step'")
    launch = Launch(place, *on, fault="kill:1:2", apart=True)
    assert all(status not in (0, None) for status in launch.statuses)
    assert launch.seconds < 120  # far from the ten minutes of silence that are allowed
    (sentence,) = launch.said
    assert "train.py: another of the 2 processes is gone: it was killed" in sentence
    assert "the last checkpoint is good; resume with: torchrun --nnodes=2 ..." in sentence
    assert "[rank0]" not in launch.errors  # no traceback but torchrun's own
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["status"], summary["epochs"]) == ("interrupted", 1)
    assert "another of the 2 processes is gone" in summary["reason"]
    maker = "saved on torch (cpu, 1 thread), resumed on torch (cpu, 2 processes, 1 thread)"
    assert f"{maker}: the same up to rounding" in launch.output
    assert call(monkeypatch, place, f"resume={folder}") == 0
    output = capsys.readouterr().out
    assert "resumed in epoch 2 after step 2\n" in output
    assert "saved on torch (cpu, 2 processes, 1 thread), resumed on torch (cpu, 1 t" in output
    assert difference(folder, alone / "1_lenet5_bn_torch") < TOLERANCE["lenet5_bn"]


def test_a_failing_process_gives_its_reason(alone, place):
    folder = ("hydra.run.dir=failed", "trainer.epochs=2")
    launch = Launch(place, *folder, "model=lenet5_bn", *SETTINGS, fault="raise:1:5")
    assert 0 not in launch.statuses
    sentence, reason = launch.said  # of rank 0 and rank 1
    assert reason == "train.py: rank 1: ValueError: the fault"
    assert "or gave its reason itself; the last checkpoint is good" in sentence
    (row,), (expected, _) = metrics(place / "failed"), metrics(alone / "1_lenet5_bn_torch")
    for loss in ("train_loss", "test_loss"):
        assert row[loss] == pytest.approx(expected[loss], rel=0.1)


def test_a_stopped_job_is_saved_and_goes_on_in_two_processes(shared, place):
    folder = ("hydra.run.dir=stopped", "model=lenet5_bn", *SETTINGS, "trainer.epochs=2")
    often = "trainer.checkpoint_every='2 steps'"
    launch = Torchrun(place, *folder, often, fault="stop:0:2")
    assert launch.statuses[0] not in (0, None)
    assert "SIGTERM: saving after this step" in launch.errors
    (sentence,) = launch.said
    assert "stopped by SIGTERM in epoch 1 after step 4, all saved; resume with: " in sentence
    printed = shlex.split(sentence.partition("resume with: ")[2])
    program = str(ROOT / "train.py")
    given = f"resume={place / 'stopped'}"
    assert printed == ["torchrun", "--nproc_per_node=2", program, given]
    again = Launch(place, given)
    assert again.statuses == [0, 0], again.errors
    assert "bit for bit" not in again.output
    assert_same_run(place / "stopped", place / "shared/sweep/1_lenet5_bn_torch")


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_cuda_devices_are_one(place, monkeypatch):
    run = ("model=lenet5_tanh", *SETTINGS, "device=cuda", "trainer.epochs=2")
    launch = Torchrun(place, *run, "hydra.run.dir=cuda_two", fault="")
    assert launch.statuses == [0], launch.errors
    assert call(monkeypatch, place, *run, "hydra.run.dir=cuda_one") == 0
    assert difference(place / "cuda_two", place / "cuda_one") < TOLERANCE["lenet5_tanh"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("backend=numpy",), "backend=numpy trains in one process, not in 2: leave torchrun out"),
        (("--multirun", "backend=torch,numpy"), "backend=numpy trains in one process, not in 2"),
        (("--multirun", "seed=1,2", "hydra/launcher=joblib"), "hydra/launcher=joblib cannot"),
        (("seed=1",), "WORLD_SIZE=2 is set and MASTER_ADDR is not: start several processes with"),
    ],
)
def test_what_several_processes_cannot_do(
    arguments, words, call_main, capsys, monkeypatch, tmp_path
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert call_main(*arguments, "data=digits", "device=cpu") == 2
    errors = capsys.readouterr().err
    assert errors.startswith(f"train.py: {words}"), errors
    assert errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("backend.mode=graph", "backend.mode=graph cannot be used with several processes"),
        ("backend.compile=true", "backend.compile=true cannot be used with several processes"),
    ],
)
def test_modes_of_one_process(setting, words):
    with pytest.raises(ConfigError, match=words):
        prepare(compose("backend=torch", "device=cpu", setting), processes=2)


def test_more_processes_than_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(ConfigError, match=r"more processes than CUDA devices .*\(1\)"):
        prepare(compose("backend=torch", "device=cuda"), processes=2)


def test_what_a_failed_exchange_means():
    silent = RuntimeError("[gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 600000ms")
    assert explain(silent, 4) == "another of the 4 processes has not answered for 10 minutes"
    gone = RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [::1]:1")
    assert (explain(gone, 4) or "").startswith("another of the 4 processes is gone")
    assert explain(RuntimeError("shapes (3,) and (4,)"), 4) is None
    assert explain(ValueError("connection"), 4) is None
