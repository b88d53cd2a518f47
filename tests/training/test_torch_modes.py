"""What torch's options change in how the steps are carried out, and what they must not change."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.training.support import compose, few_digits
from training.backend import Totals, open_backend
from training.errors import ConfigError
from training.loop import plan_epoch
from training.torch_backend import TorchBackend
from training.torch_backend.capture import WARM_UP, CapturedCalls

torch = pytest.importorskip("torch")

NO_DEVICE = "needs a CUDA device, and this torch sees none"
NETWORKS = ("lenet5_tanh", "lenet5_bn", "deepcnn21")
OPTIMIZERS = {
    "adam": ("optimizer=adam",),
    "adam-uncorrected": ("optimizer.eps_mode=uncorrected", "optimizer.eps=1e-7"),
    "sgd": ("optimizer=sgd", "optimizer.dampening=0.5"),
    "adagrad": ("optimizer=adagrad",),
}


class Recorder:
    """Records as a CUDA graph does: nothing happens until the replay."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, action: Callable[[], None]) -> Callable[[], None]:
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            action()

        return replay


def trained(
    *overrides: str, epochs: int = 2, recorder: Recorder | None = None, device: str = "cpu"
) -> TorchBackend:
    """The backend after some epochs of 100 images in batches of 16, the last one of 4."""
    config = compose("backend=torch", f"device={device}", "trainer.batch_size=16", *overrides)
    dataset = few_digits(config.model.image_size, train=100)
    backend = open_backend(config)
    assert isinstance(backend, TorchBackend)
    if recorder:
        steps = backend._steps
        steps._calls = CapturedCalls(steps._step, recorder)
    backend.place(dataset)
    for epoch in range(epochs):
        plan = plan_epoch(config, len(dataset.train_labels), epoch)
        backend.begin_epoch(plan, Totals())
        for first in range(0, plan.steps, 3):
            backend.train(first, min(first + 3, plan.steps))
        assert np.isfinite(backend.totals().loss)
        assert backend.totals().images == len(dataset.train_labels)
        backend.end_epoch()
    return backend


def assert_same(one: TorchBackend, other: TorchBackend) -> None:
    first, second = one.state(), other.state()
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
    assert one.totals() == other.totals()


@pytest.mark.parametrize("network", NETWORKS)
def test_graph_mode_without_a_device_is_eager_mode(network):
    one = trained(f"model={network}", "backend.mode=eager")
    other = trained(f"model={network}", "backend.mode=graph")
    assert_same(one, other)
    assert one.notes == ()
    assert "without a CUDA device" in other.notes[0]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("network", ["lenet5_bn", "deepcnn21"])
def test_replayed_steps_are_the_steps(network, optimizer):
    overrides = (f"model={network}", *OPTIMIZERS[optimizer], "data.flip=0.5")
    recorder = Recorder()
    schedule = ("scheduler=step", "scheduler.step_size=1")
    replayed = trained(*overrides, *schedule, epochs=5, recorder=recorder)
    assert_same(trained(*overrides, *schedule, epochs=5), replayed)
    # One recording for full batches and one for the ragged last ones, each after its warming up.
    steps = 5 * 7
    assert recorder.recorded == 2
    assert recorder.replayed == steps - 2 * WARM_UP


def test_a_loaded_state_makes_recordings_void():
    recorder = Recorder()
    backend = trained("model=lenet5_relu", recorder=recorder)
    assert recorder.recorded == 1
    backend.load_state(backend.state())
    recorder.recorded = 0
    config = compose("backend=torch", "device=cpu", "trainer.batch_size=16", "model=lenet5_relu")
    backend.begin_epoch(plan_epoch(config, 100, 2), Totals())
    backend.train(0, WARM_UP)
    assert recorder.recorded == 0
    backend.train(WARM_UP, WARM_UP + 1)
    assert recorder.recorded == 1


def test_a_recorded_call_reads_its_places_anew():
    place, seen = [0], []
    recorder = Recorder()
    calls = CapturedCalls(lambda argument: seen.append((argument, place[0])), recorder)
    for number in range(WARM_UP + 3):
        place[0] = number
        calls(7)
    assert seen == [(7, number) for number in range(WARM_UP + 3)]
    assert (recorder.recorded, recorder.replayed) == (1, 3)
    calls.forget()
    calls(7)
    assert recorder.recorded == 1


def test_bf16_is_close_and_says_so():
    exact, rough = (
        trained("model=lenet5_tanh", f"backend.precision={p}", epochs=1)
        for p in ("float32", "bf16")
    )
    assert "precision bf16" in rough.notes[0]
    assert rough.totals().loss == pytest.approx(exact.totals().loss, rel=0.02)
    assert rough.totals().loss != exact.totals().loss
    assert all(array.dtype != np.float16 for array in rough.state().values())


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("backend.precision=tf32",), "tf32 needs a CUDA device"),
        (
            ("backend.mode=graph", "optimizer=adagrad", "optimizer.lr_decay=0.1"),
            "backend.mode=graph cannot be used with optimizer.lr_decay",
        ),
    ],
)
def test_what_cannot_be_had_is_refused(overrides, words):
    with pytest.raises(ConfigError, match=words):
        open_backend(compose("backend=torch", "device=cpu", *overrides))


def test_compiling_without_a_compiler_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ConfigError, match="needs a C\\+\\+ compiler"):
        open_backend(compose("backend=torch", "device=cpu", "backend.compile=true"))


def test_compiled_steps_are_the_steps():
    plain, compiled = (
        trained("model=linear_baseline", "data.flip=0.5", f"backend.compile={value}", epochs=1)
        for value in ("false", "true")
    )
    assert compiled.totals().loss == pytest.approx(plain.totals().loss, rel=1e-5)
    for name, array in plain.state().items():
        np.testing.assert_allclose(compiled.state()[name], array, rtol=1e-3, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_DEVICE)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("network", NETWORKS)
def test_cuda_graphs_are_eager_mode(network, optimizer):
    overrides = (
        *(f"model={network}", *OPTIMIZERS[optimizer], "data.flip=0.5"),
        *("scheduler=step", "scheduler.step_size=1", "backend.deterministic=true"),
    )
    eager, graph = (
        trained(*overrides, f"backend.mode={mode}", epochs=5, device="cuda")
        for mode in ("eager", "graph")
    )
    assert graph._steps._calls._replays.keys() == {16, 4}
    assert graph.totals().loss == pytest.approx(eager.totals().loss, rel=1e-4)
    for name, array in eager.state().items():
        np.testing.assert_allclose(graph.state()[name], array, rtol=1e-2, atol=1e-4, err_msg=name)
