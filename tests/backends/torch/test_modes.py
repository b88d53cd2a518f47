"""What torch's options change in how the steps are carried out, and what they must not change."""

from __future__ import annotations

import numpy as np
import pytest

from tests.backends.torch.op_recorder import OpRecorder
from tests.support import compose, few_digits
from training.backends.opening import open_backend
from training.backends.protocol import Totals
from training.backends.torch import TorchBackend, optimizers, steps
from training.backends.torch.capture import RECORDERS, WARM_UP, CapturedCalls
from training.errors import ConfigError
from training.trainer.plan import plan_epoch

torch = pytest.importorskip("torch")

NO_DEVICE = "needs a CUDA device, and this torch sees none"
NETWORKS = ("lenet5_tanh", "lenet5_bn", "deepcnn21")
OPTIMIZERS = {
    "adam": ("optimizer=adam",),
    "adam-uncorrected": ("optimizer.eps_mode=uncorrected", "optimizer.eps=1e-7"),
    "sgd": ("optimizer=sgd", "optimizer.dampening=0.5"),
    "adagrad": ("optimizer=adagrad",),
    "adagrad-decay": ("optimizer=adagrad", "optimizer.lr_decay=0.1", "optimizer.weight_decay=1e-3"),
}
#: A schedule whose rates float32 holds exactly, as it does in a graph, and shifts.
CHANGING = ("optimizer.lr=0.0009765625", "scheduler=step", "scheduler.step_size=1", "data.shift=1")


@pytest.fixture
def recorder(monkeypatch) -> OpRecorder:
    """What records the CPU's steps as graphs would be recorded."""
    recorder = OpRecorder()
    monkeypatch.setitem(RECORDERS, "cpu", lambda: recorder)
    return recorder


def trained(*overrides: str, epochs: int = 2, device: str = "cpu") -> TorchBackend:
    """The backend after some epochs of 100 images in batches of 16, the last one of 4."""
    config = compose("backend=torch", f"device={device}", "trainer.batch_size=16", *overrides)
    dataset = few_digits(config.model.image_size, train=100)
    backend = open_backend(config)
    assert isinstance(backend, TorchBackend)
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
def test_replayed_steps_are_the_steps(network, optimizer, recorder):
    overrides = (f"model={network}", *OPTIMIZERS[optimizer], *CHANGING)
    replayed = trained(*overrides, "backend.mode=graph", epochs=5)
    assert replayed.notes == ()
    assert_same(trained(*overrides, "backend.mode=eager", epochs=5), replayed)
    # One recording for full batches and one for the ragged last ones, each after its warming up.
    assert len(recorder.recordings) == 2
    assert recorder.replayed == 5 * 7 - 2 * WARM_UP


def test_a_rate_from_the_host_would_be_frozen(recorder, monkeypatch):
    """What the recordings of these tests are good for."""
    monkeypatch.setattr(
        optimizers.Schedule, "write", lambda schedule, group: group.update(lr=schedule.lr)
    )
    overrides = ("model=linear_baseline", *CHANGING)
    frozen = trained(*overrides, "backend.mode=graph", epochs=5)
    fresh = trained(*overrides, "backend.mode=eager", epochs=5)
    assert frozen.totals().loss != pytest.approx(fresh.totals().loss, rel=1e-6)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda x: x.sum().item(), "reads a number"),
        (lambda x: x + torch.tensor(1.0), "brings a number"),
        (lambda x: x[x > 0], "shape depends on numbers"),
    ],
)
def test_what_a_graph_cannot_hold_is_told(action, words):
    with pytest.raises(AssertionError, match=words):
        OpRecorder()(lambda: action(torch.ones(3)))


def test_a_loaded_state_makes_recordings_void(recorder):
    backend = trained("model=lenet5_relu", "backend.mode=graph")
    assert len(recorder.recordings) == 1
    backend.load_state(backend.state())
    config = compose("backend=torch", "device=cpu", "trainer.batch_size=16", "model=lenet5_relu")
    backend.begin_epoch(plan_epoch(config, 100, 2), Totals())
    backend.train(0, WARM_UP)
    assert len(recorder.recordings) == 1
    backend.train(WARM_UP, WARM_UP + 1)
    assert len(recorder.recordings) == 2


def test_a_recorded_call_reads_its_places_anew():
    place, seen = torch.zeros(()), torch.zeros(2 * WARM_UP)
    recorder = OpRecorder()
    calls = CapturedCalls(lambda size: seen.index_put_((place.long(),), place * size), recorder)
    for number in range(2 * WARM_UP):
        place.fill_(number)
        calls(7)
    assert seen.tolist() == [7 * number for number in range(2 * WARM_UP)]
    assert (len(recorder.recordings), recorder.replayed) == (1, WARM_UP)
    calls.forget()
    calls(7)
    assert len(recorder.recordings) == 1


def test_mirrored_images_are_not_among_those_evaluated():
    backend = trained("model=lenet5_relu", "data.flip=0.5", epochs=1)
    assert backend.evaluate(1000).shape == (100, 10)
    # Kernels may round by the batch's size; a mirrored image moves logits by far more.
    np.testing.assert_allclose(backend.evaluate(1000)[:30], backend.evaluate(30), atol=1e-6)


def test_bf16_is_close_and_says_so():
    exact, rough = (
        trained("model=lenet5_tanh", f"backend.precision={p}", epochs=1)
        for p in ("float32", "bf16")
    )
    assert "precision bf16" in rough.notes[0]
    assert rough.totals().loss == pytest.approx(exact.totals().loss, rel=0.02)
    assert rough.totals().loss != exact.totals().loss
    assert all(array.dtype != np.float16 for array in rough.state().values())


def test_tf32_on_the_cpu_is_refused():
    with pytest.raises(ConfigError, match="tf32 needs a CUDA device"):
        open_backend(compose("backend=torch", "device=cpu", "backend.precision=tf32"))


def test_compiling_without_a_compiler_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ConfigError, match="needs a C\\+\\+ compiler"):
        open_backend(compose("backend=torch", "device=cpu", "backend.compile=true"))


@pytest.mark.kernels
def test_compiled_steps_are_the_steps():
    plain, compiled = (
        trained("model=linear_baseline", "data.flip=0.5", f"backend.compile={value}", epochs=1)
        for value in ("false", "true")
    )
    assert compiled.totals().loss == pytest.approx(plain.totals().loss, rel=1e-5)
    for name, array in plain.state().items():
        np.testing.assert_allclose(compiled.state()[name], array, rtol=1e-3, atol=1e-5)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_DEVICE)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("network", NETWORKS)
def test_cuda_graphs_are_eager_mode(network, optimizer):
    overrides = (
        *(f"model={network}", *OPTIMIZERS[optimizer], *CHANGING),
        "backend.deterministic=true",
    )
    eager, graph = (
        trained(*overrides, f"backend.mode={mode}", epochs=5, device="cuda")
        for mode in ("eager", "graph")
    )
    assert graph._steps._calls._replays.keys() == {16, 4}
    assert graph.totals().loss == pytest.approx(eager.totals().loss, rel=1e-4)
    for name, array in eager.state().items():
        np.testing.assert_allclose(graph.state()[name], array, rtol=1e-2, atol=1e-4, err_msg=name)


def test_a_compiled_kernel_is_kept_for_the_processors_vectors(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    for capability, bits in {"DEFAULT": 0, "AVX2": 256, "AVX512": 512}.items():
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda name=capability: name)
        assert steps.vectors() == {"cpp.simdlen": bits}


def test_what_is_compiled_is_for_fixed_sizes_and_this_processor(monkeypatch):
    """A batch's size is compiled into the kernels, as a graph would have it."""
    asked = []
    monkeypatch.setattr(torch, "compile", lambda f, **options: asked.append(options) or f)
    monkeypatch.setattr("training.backends.torch.devices._check_compiler", lambda device: None)
    trained("model=linear_baseline", "backend.compile=true", epochs=1)
    assert asked == [{"dynamic": False, "options": steps.vectors()}]
