"""Which ranks a run gets, how they are started, and what is said when they cannot be."""

from __future__ import annotations

import multiprocessing
import os
import re
import time
from types import SimpleNamespace

import numpy as np
import pytest

from tests.backends.programs import run_on_cores
from tests.support import compose, few_digits
from training.backends import numpy, workers
from training.backends.numpy import NumpyBackend
from training.backends.opening import all_ranks, open_backend
from training.backends.protocol import Backend
from training.backends.ranks import ALONE, Alone
from training.backends.shared_memory import REASON
from training.errors import ConfigError, ProcessError

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
needs_fork = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="needs fork"
)


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let programs be functions of this file."""
    monkeypatch.setattr(workers, "start_method", lambda: "fork")


class OneOfTwo(Alone):
    world = 2


@pytest.mark.usefixtures("forked")
@needs_fork
def test_numpy_gets_the_processes_that_are_asked_for(tmp_path) -> None:
    def program(config, dataset, ranks) -> None:
        (tmp_path / str(ranks.rank)).write_text(f"{config.seed} {len(dataset.train_labels)}")

    config = compose("backend=numpy", "backend.threads=2", "seed=7")
    with all_ranks(program, config, few_digits(), ALONE) as ranks:
        assert (ranks.rank, ranks.world) == (0, 2)
        assert re.fullmatch(r"2 processes, started in \d\d?\.\d\d s", ranks.note)
        program(config, few_digits(), ranks)
        assert NumpyBackend(config, ranks).notes == (ranks.note,)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "0": "7 96",
        "1": "7 96",
    }


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        (("backend=numpy", "backend.threads=1"), ALONE),
        (("backend=torch", "backend.threads=2"), ALONE),
        (("backend=numpy", "backend.threads=2"), OneOfTwo()),  # torchrun's
    ],
)
def test_all_others_keep_the_ranks_that_they_have(settings, given, monkeypatch) -> None:
    monkeypatch.setattr(workers, "_start", lambda *_: pytest.fail("a process was started"))
    with all_ranks(print, compose(*settings), few_digits(), given) as ranks:
        assert ranks is given


def test_processes_that_cannot_be_started(monkeypatch) -> None:
    def full(context, world):
        asked.append((context.get_start_method(), world))
        raise OSError(12, "Cannot allocate memory")

    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(workers, "Shared", full)
    monkeypatch.setattr(workers, "start_method", lambda: "spawn")
    with (
        pytest.raises(ConfigError, match=r"backend\.threads=3: that many .* memory.*use fewer"),
        workers.other_cores(print, few_digits(), 3),
    ):
        pass
    assert asked == [("spawn", 3)]


@pytest.mark.usefixtures("forked")
@needs_fork
def test_the_other_ranks_are_given_time_to_end_but_not_for_ever(tmp_path, monkeypatch) -> None:
    def slow(dataset, ranks) -> None:
        if ranks.rank:
            time.sleep(0.3)
            (tmp_path / "done").touch()

    def endless(dataset, ranks) -> None:
        if ranks.rank:
            time.sleep(60)

    run_on_cores(slow, few_digits(), 2)
    assert (tmp_path / "done").exists()
    monkeypatch.setattr(workers, "JOIN_SECONDS", 0.1)
    started = time.monotonic()
    run_on_cores(endless, few_digits(), 2)
    assert time.monotonic() - started < 30
    assert not multiprocessing.active_children()


@pytest.mark.usefixtures("forked")
@needs_fork
@pytest.mark.parametrize(
    ("reason", "told"),
    [("  no room: use less  ", "no room: use less"), ("é" * REASON, "é{1000,}\ufffd")],
)
def test_what_a_failed_rank_says_is_one_sentence(reason, told) -> None:
    """A known error's is its own, cut to its room, without a class as that of a defect."""

    def program(dataset, ranks) -> None:
        ranks.barrier()
        if ranks.rank:
            assert multiprocessing.current_process().daemon  # it may start no ranks itself
            raise ConfigError(reason)
        ranks.barrier()

    with pytest.raises(ProcessError, match=f"^rank 1 of the 2 processes: {told}$"):
        run_on_cores(program, few_digits(), 2)


def test_bytes_that_ranks_exchange_may_be_any() -> None:
    assert ALONE.broadcast_bytes(b"\0abc\0") == b"\0abc\0"


def test_every_row_is_one_ranks_part() -> None:
    for world in (1, 2, 3, 5):
        ranks = []
        for rank in range(world):
            ranks.append(Alone())
            ranks[-1].rank, ranks[-1].world = rank, world
        for size in range(12):
            parts = [range(size)[each.part(size)] for each in ranks]
            assert [row for part in parts for row in part] == list(range(size))
            assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    ("parent", "above", "leaves"),
    [
        (7, SimpleNamespace(is_alive=lambda: True), False),
        (1, SimpleNamespace(is_alive=lambda: True), True),
        (7, SimpleNamespace(is_alive=lambda: False), True),
        (7, None, True),
    ],
)
def test_a_rank_leaves_without_its_parent(parent, above, leaves, monkeypatch) -> None:
    left = []
    monkeypatch.setattr(os, "getppid", lambda: parent)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: above)
    monkeypatch.setattr(os, "_exit", left.append)
    workers._leave_without(7)
    assert left == [1] * leaves


@pytest.mark.parametrize(
    ("backend", "reason"), [("numpy", "would give an empty output"), ("torch", "Kernel size")]
)
def test_images_that_are_too_small(backend, reason) -> None:
    wrong = compose(f"backend={backend}", "device=cpu", "model.image_size=8")
    with pytest.raises(ConfigError, match=r"^model\.image_size=8: .* cannot take 8×8") as caught:
        open_backend(wrong)
    assert reason in str(caught.value)


@pytest.mark.parametrize("given", [None, "4"])
def test_blas_keeps_to_one_thread_unless_the_user_has_set_a_number(given, monkeypatch) -> None:
    limits = []
    monkeypatch.setattr(numpy, "threadpool_limits", lambda *a, **k: limits.append((a, k)))
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", given)
    open_backend(compose("backend=numpy"))
    assert limits == ([] if given else [((1,), {"user_api": "blas"})])


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_images_are_evaluated_in_batches(backend, monkeypatch) -> None:
    """Which changes the logits by rounding alone."""
    opened = open_backend(compose(f"backend={backend}", "device=cpu"))
    opened.place(few_digits())
    whole = opened.evaluate()
    if backend == "numpy":
        monkeypatch.setattr(numpy, "EVALUATION_BATCH", 7)
    else:
        side = pytest.importorskip("training.backends.torch.backend")
        monkeypatch.setitem(side.EVALUATION_BATCH, "cpu", 7)
    np.testing.assert_allclose(opened.evaluate(), whole, rtol=0, atol=1e-5)
    assert opened.evaluate(20).shape == (20, 10)


def test_two_ranks_of_torch_look_up_less_often_and_say_what_they_are() -> None:
    pytest.importorskip("torch")

    def opened(world: int, mode: str = "auto") -> Backend:
        ranks, settings = Alone(), ("backend=torch", "device=cpu", "model=lenet5_bn")
        ranks.world, ranks.note = world, f"{world} processes"
        return open_backend(compose(*settings, f"backend.mode={mode}"), ranks)

    assert (opened(1).notes, opened(1).steps_per_call) == ((), 1)
    assert (opened(2).notes, opened(2).steps_per_call) == (("2 processes, gloo",), 16)
    with pytest.raises(ConfigError, match="mode=graph cannot be used with several processes"):
        opened(2, "graph")


def test_spawned_ranks_share_their_images() -> None:
    dataset = few_digits()
    shared = workers.SharedDataset(multiprocessing.get_context("spawn"), dataset)
    one, other = shared.open(), shared.open()
    for name, array in vars(dataset).items():
        np.testing.assert_array_equal(getattr(one, name), array, strict=True)
    assert np.shares_memory(one.train_images, other.train_images)
    assert not one.train_images.flags.writeable
