"""Long ways round to the same end: several epochs with everything on, stopped, killed, resumed.

Five epochs of five steps, the last of 16 images; the rate is halved after every second epoch,
dropout or batch normalisation is on, accuracies on samples are taken in the middle of the first
epoch, and the state is saved every third epoch only. Each of these shows what a short run hides.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support import assert_same_run, at_step, compose, metrics, signal_at_step
from training.backends.numpy import NumpyBackend
from training.backends.torch import TorchBackend
from training.trainer.plan import plan_epoch

SETTINGS = (
    *("data=digits", "data.flip=0.5", "backend.threads=1"),
    *("trainer.epochs=5", "trainer.batch_size=20", "trainer.checkpoint_every=3 epochs"),
    *("trainer.log_every=2", "trainer.evaluation_samples=20"),
    *("scheduler.step_size=2", "scheduler.gamma=0.5", "seed=3"),
)
NETWORKS = ("deepcnn21", "lenet5_bn")
BACKENDS = {"numpy": NumpyBackend, "torch": TorchBackend}
pytestmark = pytest.mark.usefixtures("few_digits", "no_pictures")


def arguments(model: str, backend: str, folder: Path) -> tuple[str, ...]:
    return (f"model={model}", f"backend={backend}", *SETTINGS, f"hydra.run.dir={folder}")


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> dict[tuple[str, str], Path]:
    """The folders of runs that nothing happens to, by network and backend."""
    place = tmp_path_factory.mktemp("plain")
    return {(m, b): place / f"{m}_{b}" for m in NETWORKS for b in BACKENDS}


@pytest.fixture(params=[(m, b) for m in NETWORKS for b in BACKENDS], ids="-".join)
def whole(request, plain, call_main) -> tuple[str, str, Path]:
    """A network, a backend, and the folder of their plain run."""
    model, backend = request.param
    folder = plain[model, backend]
    if not folder.exists():
        assert call_main(*arguments(model, backend, folder)) == 0
    return model, backend, folder


def assert_same(one: Path, other: Path) -> None:
    assert_same_run(one, other)
    for name in ("steps.csv", "evaluations.csv"):
        assert (one / name).read_text() == (other / name).read_text(), name


@pytest.mark.parametrize("step", [3, 13, 22])
def test_stopped_in_the_middle_of_an_epoch(step, whole, call_main, tmp_path, monkeypatch):
    model, backend, folder = whole
    with monkeypatch.context() as patch:
        signal_at_step(patch, step, signal.SIGTERM)
        assert call_main(*arguments(model, backend, tmp_path / "part")) == 143
    assert call_main(f"resume={tmp_path / 'part'}") == 0
    assert_same(tmp_path / "part", folder)


@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_stopped_at_an_epochs_end(epoch, whole, call_main, tmp_path, monkeypatch, capsys):
    """A signal in the epoch's evaluation is obeyed, and all is saved though no save is due."""
    model, backend, folder = whole
    kind = BACKENDS[backend]
    with monkeypatch.context() as patch:

        def end_epoch(self, original=kind.end_epoch):
            original(self)
            ended.append(self)
            if len(ended) == epoch:
                signal.raise_signal(signal.SIGINT)

        ended: list[object] = []
        patch.setattr(kind, "end_epoch", end_epoch)
        assert call_main(*arguments(model, backend, tmp_path / "part")) == 130
    assert f"at the end of epoch {epoch}, all saved" in capsys.readouterr().err
    assert call_main(f"resume={tmp_path / 'part'}") == 0
    assert_same(tmp_path / "part", folder)


def test_killed_and_resumed_twice(whole, call_main, tmp_path, monkeypatch):
    """As kill -9 does: nothing is saved at the kill, and the run goes on from the third epoch."""
    model, backend, folder = whole
    part = tmp_path / "part"

    class KilledError(BaseException):
        pass

    def kill() -> None:
        raise KilledError

    for step, command in ((18, arguments(model, backend, part)), (4, (f"resume={part}",))):
        with monkeypatch.context() as patch:
            at_step(patch, step, kill)
            with pytest.raises(KilledError):
                call_main(*command)
    assert call_main(f"resume={part}") == 0
    assert_same(part, folder)


@pytest.mark.parametrize("model", NETWORKS)
def test_both_backends_take_the_same_way(model, plain, call_main):
    """Whatever one side forgets, the mode, the masks, the phase, takes it off the other's way."""
    for backend in BACKENDS:
        if not plain[model, backend].exists():
            assert call_main(*arguments(model, backend, plain[model, backend])) == 0
    ours, theirs = (metrics(plain[model, backend]) for backend in BACKENDS)
    assert [row["lr"] for row in ours] == [row["lr"] for row in theirs]
    assert [row["lr"] / ours[0]["lr"] for row in ours] == [1, 1, 0.5, 0.5, 0.25]
    for row, other in zip(ours, theirs, strict=True):
        for loss in ("train_loss", "test_loss"):
            # Rounding grows to 1e-5 in these 25 steps; a step without dropout is 1e-2 away.
            assert row[loss] == pytest.approx(other[loss], abs=1e-3), (row["epoch"], loss)


@pytest.mark.parametrize("count", [96, 100, 101])
def test_every_image_is_drawn_once_an_epoch(count):
    for epoch in range(3):
        indices = plan_epoch(compose("trainer.batch_size=20"), count, epoch).indices
        assert sorted(indices) == list(range(count))
