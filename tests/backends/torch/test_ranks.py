"""torch.distributed's ranks without its processes: what it is asked for, and what it may answer."""

from __future__ import annotations

import atexit
import signal
from datetime import timedelta

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from training.backends.torch import distributed  # noqa: E402
from training.backends.torch.distributed import DistributedRanks  # noqa: E402
from training.errors import ConfigError, ProcessError  # noqa: E402


@pytest.fixture
def group(monkeypatch) -> list[tuple]:
    """The second of three ranks on two machines, of which each has numbers of its own.

    Holds what torch is asked for, in order.
    """
    asked: list[tuple] = []

    def all_reduce(tensor, group):
        asked.append(("all_reduce", group))
        tensor += 10

    def all_gather(tensors, tensor, group):
        asked.append(("all_gather", group))
        for rank, each in enumerate(tensors):
            each.copy_(tensor + rank)

    def broadcast(tensor, source, group):
        asked.append(("broadcast", source, group))
        tensor.fill_(7)

    for function in (all_reduce, all_gather, broadcast):
        monkeypatch.setattr(distributed.dist, function.__name__, function)
    for name in ("init_process_group", "destroy_process_group"):
        monkeypatch.setattr(
            distributed.dist, name, lambda *a, name=name, **k: asked.append((name, *a, k))
        )
    monkeypatch.setattr(atexit, "register", lambda function: asked.append(("at exit", function)))
    environment = {"WORLD_SIZE": 3, "RANK": 1, "MASTER_ADDR": "here", "MASTER_PORT": 1}
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("GROUP_WORLD_SIZE", raising=False)
    return asked


def test_ranks_meet_and_part(group, monkeypatch):
    ranks = DistributedRanks()
    meeting = ("init_process_group", "gloo", {"timeout": timedelta(minutes=10)})
    assert group == [meeting, ("at exit", ranks._part)]
    assert (ranks.rank, ranks.world, ranks.note) == (1, 3, "3 processes")
    ranks._part()
    assert group[2:] == [("destroy_process_group", {})]
    for machines, words in (("1", ""), ("2", " on 2 machines")):
        monkeypatch.setenv("GROUP_WORLD_SIZE", machines)
        assert DistributedRanks().note == f"3 processes{words}"


@pytest.mark.parametrize("name", ["MASTER_ADDR", "MASTER_PORT"])
def test_without_a_place_to_meet(name, group, monkeypatch):
    monkeypatch.delenv(name)
    with pytest.raises(ConfigError, match=f"^WORLD_SIZE=3 is set and {name} is not: start"):
        DistributedRanks()
    assert group == []


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_arrays_stay_of_their_kind(kind, group):
    ranks, array = DistributedRanks(), kind([1.0, 2.0])
    assert ranks.all_reduce(array) is array
    assert array.tolist() == [11, 12]
    gathered = ranks.all_gather(array)
    assert [type(each) for each in gathered] == [type(array)] * 3
    assert [each.tolist() for each in gathered] == [[11, 12], [12, 13], [13, 14]]
    ranks.broadcast(array)
    assert array.tolist() == [7, 7]
    assert group[2:] == [("all_reduce", None), ("all_gather", None), ("broadcast", 0, None)]


def test_what_is_on_a_device_travels_over_nccl(group, monkeypatch):
    made = []
    monkeypatch.setattr(distributed.dist, "new_group", lambda **k: made.append(k) or "of NCCL")

    class OnDevice(torch.Tensor):
        is_cuda = True

    ranks, tensor = DistributedRanks(), torch.zeros(2).as_subclass(OnDevice)
    ranks.all_reduce(tensor)
    ranks.broadcast(tensor)
    ranks.all_reduce(torch.zeros(2))
    assert made == [{"backend": "nccl", "timeout": timedelta(minutes=10)}]
    travelled = [("all_reduce", "of NCCL"), ("broadcast", 0, "of NCCL"), ("all_reduce", None)]
    assert group[2:] == travelled


@pytest.mark.parametrize("exchange", ["all_reduce", "all_gather", "broadcast"])
def test_a_lost_rank_is_told_and_remembered(exchange, group, monkeypatch):
    def lost(*_, **__):
        raise RuntimeError("[gloo] Connection closed by peer")

    def defective(*_, **__):
        raise RuntimeError("shapes (3,) and (4,)")

    ranks = DistributedRanks()
    monkeypatch.setattr(distributed.dist, exchange, defective)
    with pytest.raises(RuntimeError, match="shapes"):
        getattr(ranks, exchange)(np.zeros(2))
    monkeypatch.setattr(distributed.dist, exchange, lost)
    with pytest.raises(ProcessError, match=r"^another of the 3 processes is gone"):
        getattr(ranks, exchange)(np.zeros(2))
    ranks._part()  # whose connections break with it
    assert len(group) == 2


@pytest.mark.parametrize(("rank", "watches"), [(0, True), (1, False)])
def test_torchruns_signal_ends_the_first_rank_unless_it_has_something_to_say(
    rank, watches, group, monkeypatch
):
    raised = []
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        ranks = DistributedRanks()
        assert (signal.getsignal(signal.SIGTERM) == ranks._end) is watches
        ranks._lost = True
        ranks._end(signal.SIGTERM, None)
        assert raised == []
        ranks._lost = False
        ranks._end(signal.SIGTERM, None)
        assert raised == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        DistributedRanks()
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN  # as it was told to
    finally:
        signal.signal(signal.SIGTERM, before)


def test_which_failures_are_a_lost_ranks():
    explain = distributed.explain
    assert "not answered" in str(explain(RuntimeError("gloo: Timed out"), 2))
    assert "not answered" in str(explain(RuntimeError("connection timeout"), 2))
    assert "is gone" in str(explain(RuntimeError("GLOO broke"), 2))
    assert "is gone" in str(explain(torch.distributed.DistError("broke"), 2))
    assert explain(RuntimeError("timed out"), 2) is None
