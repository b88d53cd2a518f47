"""The words for what computes a run, and the command that goes on with it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.support import compose
from training.trainer import resume
from training.trainer.saved_run import Provenance

ALONE = Provenance("torch", "cpu", 1, 1)
SHARED = Provenance("torch", "cpu", 4, 2)


@pytest.mark.parametrize(
    ("maker", "words"),
    [
        (ALONE, "torch (cpu, 1 thread)"),
        (SHARED, "torch (cpu, 2 processes, 4 threads)"),
        (Provenance("numpy", "cpu", 1, 1), "numpy (cpu, 1 thread)"),
        (Provenance("numpy", "cpu", 2, 2), "numpy (cpu, 2 processes)"),
    ],
)
def test_what_computes_a_run(maker, words) -> None:
    assert str(maker) == words


@pytest.mark.parametrize(
    ("program", "world", "here", "started"),
    [
        ("/src/train.py", 1, 1, "python /src/train.py"),
        ("/venv/bin/lenet-twins-train", 1, 1, "lenet-twins-train"),
        ("-c", 1, 1, "python train.py"),
        ("/src/train.py", 2, 2, "torchrun --nproc_per_node=2 /src/train.py"),
        ("/src/train.py", 6, 3, "torchrun --nnodes=2 ... --nproc_per_node=3 /src/train.py"),
        ("/bin/lenet-twins-train", 2, 2, "torchrun --nproc_per_node=2 /bin/lenet-twins-train"),
    ],
)
def test_the_command_that_goes_on(program, world, here, started, monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", [program])
    monkeypatch.setenv("WORLD_SIZE", str(world))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(here))
    config = compose("data.root='/my data'")
    command = resume.command(Path("/runs/1"), config, "trainer.epochs=4")
    settings = ["resume=/runs/1", "trainer.epochs=4", "data.root='/my data'"]
    assert shlex.split(command) == [*started.split(), *settings]
