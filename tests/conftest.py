"""Tests see no CUDA device unless they are about one, and Ctrl-C reaches what they start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hydra.core.config_store import ConfigStore

import training.trainer.dataset
from tests import support

# Threads that wait by spinning take the cores from tests that run beside them.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture(autouse=True, scope="session")
def _quick_compositions() -> Iterator[None]:
    """Have Hydra, which composes a thousand times, read YAML in C and not copy its whole store.

    What it takes from the store it copies as well.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml, "SafeLoader", getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        patch.setattr(ConfigStore, "__deepcopy__", lambda store, _: store, raising=False)
        yield


@pytest.fixture(autouse=True)
def _without_cuda(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `device=auto` mean the CPU, here and in processes that the test starts."""
    if request.node.get_closest_marker("cuda"):
        return
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    if "torch" in sys.modules:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> Iterator[None]:
    """A shell starts background jobs with SIGINT ignored, nohup with SIGHUP; both are inherited."""
    usual = {signal.SIGINT: signal.default_int_handler}
    if hasattr(signal, "SIGHUP"):
        usual[signal.SIGHUP] = signal.SIG_DFL
    ignored = [number for number in usual if signal.getsignal(number) == signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, usual[number])
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(autouse=True)
def _one_torch_thread() -> None:
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture
def call_main(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int | str | None]:
    """Call the command line in this process, in an empty folder; returns its exit status."""
    return partial(support.call, monkeypatch, tmp_path)


@pytest.fixture
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every run of this process see 96 training and 30 test images."""
    monkeypatch.setattr(
        training.trainer.dataset,
        "_load_once",
        lambda name, root, download, size, silent: support.few_digits(size),
    )


@pytest.fixture
def mnist_of_digits(monkeypatch: pytest.MonkeyPatch, no_pictures: None) -> None:
    """Let every run that asks for MNIST see 96 digits under that name, and draw no pictures."""

    def load(name: str, root: str | None, download: bool, size: int, silent: bool):
        assert name == "mnist"
        return replace(support.few_digits(size), name="mnist")

    monkeypatch.setattr(training.trainer.dataset, "_load_once", load)


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    support.draw_nothing(monkeypatch)


@pytest.fixture
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let benchmarks fork their workers."""
    from benchmarks import harness
    from tests.forked import ForkedWorker

    names = {"PIPE": subprocess.PIPE, "TimeoutExpired": subprocess.TimeoutExpired}
    monkeypatch.setattr(harness, "subprocess", SimpleNamespace(Popen=ForkedWorker, **names))
