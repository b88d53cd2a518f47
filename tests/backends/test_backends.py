"""Both backends do the same with the same plan, and speak one format of state."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.support import MODELS, compose
from training.backends.initialisation import initial_weights
from training.backends.opening import open_backend
from training.backends.protocol import Backend, Totals, check_state
from training.backends.ranks import Alone
from training.backends.streams import stream
from training.config.schema import InitConfig, NormalInitConfig
from training.data import Dataset, load_dataset
from training.errors import ConfigError
from training.storage.checkpoint import load_checkpoint, save_checkpoint
from training.trainer.evaluation import score
from training.trainer.plan import plan_epoch

BACKENDS = ("numpy", "torch")
# ε is far above the gradients' rounding: with the usual 1e-8, Adam and AdaGrad would make whole
# steps of gradients that are zero but for rounding.
OPTIMIZERS = {
    "adam": ("optimizer=adam", "optimizer.eps=1e-3"),
    "adam-uncorrected": ("optimizer.eps_mode=uncorrected", "optimizer.eps=1e-3"),
    "adam-inside-root": ("optimizer.eps_mode=inside_root", "optimizer.eps=1e-3"),
    "sgd": ("optimizer=sgd",),
    "sgd-plain": ("optimizer=sgd", "optimizer.momentum=0"),
    "adagrad": ("optimizer=adagrad", "optimizer.lr_decay=0.01", "optimizer.eps=1e-3"),
}
#: √n roundings of a sum over n = 50 images of 28 × 28 positions, the longest behind a gradient.
ROUNDING = float(np.sqrt(50 * 28 * 28) * np.finfo(np.float32).eps)


def small(image_size: int = 28) -> Dataset:
    whole = load_dataset("digits", image_size=image_size, announce=lambda _: None)
    return replace(
        whole,
        train_images=whole.train_images[:100],
        train_labels=whole.train_labels[:100],
        test_images=whole.test_images[:50],
        test_labels=whole.test_labels[:50],
    )


def opened(*overrides: str, seed: int = 0) -> tuple[Backend, Dataset]:
    config = replace(compose(*overrides), seed=seed)
    backend, dataset = open_backend(config), small(config.model.image_size)
    backend.place(dataset)
    return backend, dataset


def run_steps(backend: Backend, overrides: tuple[str, ...], epoch: int, first: int, last: int):
    plan = plan_epoch(compose("backend=numpy", *overrides), 100, epoch)  # the same for either
    backend.begin_epoch(plan, Totals())
    backend.train(first, last)
    return backend.totals()


def assert_same_state(one: dict, other: dict, tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].shape == other[name].shape, name
        assert one[name].dtype == other[name].dtype, name
        # A bias before batch normalisation has gradient zero: what cancels there is as large as its
        # weight's gradient.
        sources = name, name.replace(".bias", ".weight")
        scale = max(1e-3, *(float(np.abs(other[source]).max()) for source in sources))
        np.testing.assert_allclose(
            one[name], other[name], rtol=0, atol=tolerance * scale, err_msg=name
        )


@pytest.mark.kernels
@pytest.mark.parametrize("model", MODELS)
def test_same_steps(model):
    overrides = (f"model={model}", "trainer.batch_size=32", "data.flip=0.5", "optimizer=sgd")
    results = {}
    for name in BACKENDS:
        backend, dataset = opened(f"backend={name}", *overrides)
        totals = run_steps(backend, overrides, 0, 0, 4)  # the last batch has 4 images
        results[name] = totals, score(backend.evaluate(), dataset.test_labels), backend.state()
    (mine, my_scores, my_state), (theirs, their_scores, their_state) = results.values()
    assert mine.images == theirs.images == 100
    few_roundings = 4 * np.finfo(np.float32).eps * their_scores.loss
    assert abs(mine.loss - theirs.loss) / 100 < few_roundings
    assert abs(my_scores.loss - their_scores.loss) < few_roundings
    assert my_state.keys() == their_state.keys()
    # A last bit may decide a ReLU or a maximum, and with it an image's share of a gradient.
    if not {"ReLU", "MaxPool2d"} & {row.kind for row in backend.layer_table()}:
        assert_same_state(my_state, their_state, ROUNDING)


@pytest.mark.kernels
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_same_optimizer_state(optimizer):
    overrides = ("model=lenet5_tanh", "trainer.batch_size=50", *OPTIMIZERS[optimizer])
    states = []
    for name in BACKENDS:
        backend, _ = opened(f"backend={name}", *overrides)
        run_steps(backend, overrides, 0, 0, 2)
        states.append(backend.state())
    assert int(states[0]["optimizer.step"]) == 2
    assert_same_state(*states, ROUNDING)


@pytest.mark.parametrize("init", ["torch", "he", "xavier", "normal"])
def test_same_initial_weights(init):
    one, other = (
        opened(f"backend={name}", f"init={init}", "model=lenet5_bn")[0] for name in BACKENDS
    )
    assert_same_state(one.state(), other.state(), tolerance=0)


def test_same_layer_table():
    for model in MODELS:
        one, other = (opened(f"backend={b}", f"model={model}")[0].layer_table() for b in BACKENDS)
        assert one == other


@pytest.mark.kernels
@pytest.mark.parametrize("name", BACKENDS)
def test_masks_depend_on_the_step_alone(name):
    overrides = ("model=deepcnn21", "optimizer=sgd", "optimizer.lr=1e-30", "trainer.batch_size=100")
    backend, _ = opened(f"backend={name}", *overrides)
    first = run_steps(backend, overrides, 0, 0, 1)
    second_epoch = run_steps(backend, overrides, 1, 0, 1)
    again = run_steps(backend, overrides, 0, 0, 1)
    assert first == again
    assert first.loss != second_epoch.loss


@pytest.mark.kernels
@pytest.mark.parametrize("reader", BACKENDS)
@pytest.mark.parametrize("writer", BACKENDS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_state_continues_on_either_backend(writer, reader, optimizer, tmp_path):
    overrides = (
        "trainer.batch_size=40",
        "model=lenet5_variant",
        "model.arguments.batch_norm=true",
        "scheduler.step_size=1",
        *OPTIMIZERS[optimizer],
    )
    straight, _ = opened(f"backend={writer}", *overrides)
    run_steps(straight, overrides, 0, 0, 3)
    straight.end_epoch()
    save_checkpoint(tmp_path / "state", straight.state(), {})
    resumed, _ = opened(f"backend={reader}", *overrides, seed=5)
    resumed.load_state(load_checkpoint(tmp_path / "state").state)
    assert_same_state(resumed.state(), straight.state(), tolerance=0)
    for backend in (straight, resumed):
        run_steps(backend, overrides, 1, 0, 2)
        backend.end_epoch()
    tolerance = 0 if writer == reader else ROUNDING
    assert_same_state(resumed.state(), straight.state(), tolerance)


@pytest.mark.kernels
@pytest.mark.parametrize("name", BACKENDS)
def test_resuming_inside_an_epoch_changes_nothing(name):
    overrides = (f"backend={name}", "trainer.batch_size=20", "model=deepcnn21")
    plan = plan_epoch(compose(*overrides), 100, 0)
    straight, stopped, resumed = (opened(*overrides)[0] for _ in range(3))
    straight.begin_epoch(plan, Totals())
    straight.train(0, plan.steps)
    stopped.begin_epoch(plan, Totals())
    stopped.train(0, 2)
    resumed.load_state(stopped.state())
    resumed.begin_epoch(plan, stopped.totals())
    resumed.train(2, plan.steps)
    assert resumed.totals() == straight.totals()
    assert_same_state(resumed.state(), straight.state(), tolerance=0)
    np.testing.assert_array_equal(resumed.evaluate(), straight.evaluate())


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("model.c1.bias"), r"missing \['model\.c1\.bias'\]"),
        (lambda s: s.update({"model.c9.bias": np.zeros(1)}), r"unknown \['model\.c9\.bias'\]"),
        (lambda s: s.pop("optimizer.exp_avg.out.bias"), r"exp_avg\.out\.bias"),
        (lambda s: s.update({"model.c1.bias": np.zeros(5, np.float32)}), r"c1\.bias has shape"),
        (lambda s: s.update({"model.c1.bias": np.zeros(6)}), r"dtype float64"),
    ],
)
def test_a_foreign_state_is_refused_and_nothing_changed(name, change, message):
    overrides = ("trainer.batch_size=50",)
    backend, _ = opened(f"backend={name}", *overrides)
    run_steps(backend, overrides, 0, 0, 1)
    before, foreign = backend.state(), backend.state()
    change(foreign)
    with pytest.raises(ValueError, match=message):
        backend.load_state(foreign)
    assert_same_state(backend.state(), before, tolerance=0)


@pytest.mark.parametrize("name", BACKENDS)
def test_schedule(name):
    backend, _ = opened(f"backend={name}", "scheduler.step_size=2", "scheduler.gamma=0.1")
    run_steps(backend, (), 0, 0, 1)
    rates = []
    for _ in range(4):
        rates.append(backend.lr)
        backend.end_epoch()
    np.testing.assert_allclose(rates, [1e-3, 1e-3, 1e-4, 1e-4], rtol=1e-12)


@pytest.mark.kernels
def test_flips_reach_the_network():
    results = []
    for flip in ("0", "1"):
        overrides = (f"data.flip={flip}", "trainer.batch_size=100")
        backend, _ = opened("backend=numpy", *overrides)
        results.append(run_steps(backend, overrides, 0, 0, 1).loss)
    mirrored, dataset = opened("backend=numpy")
    mirrored.place(replace(dataset, train_images=dataset.train_images[:, :, ::-1]))
    expected = run_steps(mirrored, ("trainer.batch_size=100",), 0, 0, 1).loss
    assert results[1] == expected != results[0]


@pytest.mark.kernels
def test_same_steps_on_moved_images():
    """Without rotation and shift the losses are others; across backends they differ by rounding."""
    losses = {}
    for settings in ((), ("data.shift=2", "data.rotation=15", "data.flip=0.5")):
        overrides = ("model=lenet5_tanh", "trainer.batch_size=32", *settings)
        for name in BACKENDS:
            backend, _ = opened(f"backend={name}", *overrides)
            losses[settings, name] = run_steps(backend, overrides, 0, 0, 4).loss / 100
    still, moved = ([losses[key] for key in losses if bool(key[0]) == moves] for moves in (0, 1))
    # An interpolated pixel is the same to 1e-3 of 255.
    assert abs(moved[0] - moved[1]) < 1e-3 / 255 * moved[0]
    assert abs(still[0] - moved[0]) > 1e-3


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("scaling", ["unit", "standard", "raw"])
def test_scaling(name, scaling):
    backend, _ = opened(f"backend={name}", f"data.scaling={scaling}")
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    expected = {
        "unit": pixels / 255,
        "standard": (pixels / 255 - 0.1307) / 0.3081,
        "raw": pixels.astype(np.float64),
    }[scaling]
    if name == "torch":
        import torch

        scaled = backend._pixels(torch.from_numpy(pixels)[:, None]).numpy()
    else:
        scaled = backend._input(pixels)
    assert scaled.dtype == np.float32
    assert scaled.shape == (1, 1, 16, 16)
    np.testing.assert_allclose(scaled[:, 0], expected, rtol=1e-6, atol=1e-6)


def test_initial_weights_follow_their_rule():
    shapes = {
        "c.weight": (200, 50, 3, 3),
        "c.bias": (200,),
        "f.weight": (400, 300),
        "f.bias": (400,),
        "bn.weight": (7,),
        "bn.bias": (7,),
    }
    deviations = {
        "torch": (1 / np.sqrt(3 * 450), 1 / np.sqrt(3 * 300)),
        "he": (np.sqrt(2 / 450), np.sqrt(2 / 300)),
        "xavier": (np.sqrt(2 / (450 + 1800)), np.sqrt(2 / 700)),
        "normal": (np.sqrt(2 / 450), 1.0),
    }
    for rule, (convolution, linear) in deviations.items():
        init = NormalInitConfig() if rule == "normal" else InitConfig(rule)
        weights = initial_weights(shapes, init, seed=3)
        assert np.std(weights["c.weight"]) == pytest.approx(convolution, rel=0.02), rule
        assert np.std(weights["f.weight"]) == pytest.approx(linear, rel=0.02), rule
        assert (np.ptp(weights["f.bias"]) > 0) == (rule == "torch")
        assert (weights["bn.weight"] == 1).all()
        assert (weights["bn.bias"] == 0).all()
        fewer = initial_weights({n: shapes[n] for n in ("f.weight", "f.bias")}, init, seed=3)
        np.testing.assert_array_equal(fewer["f.weight"], weights["f.weight"])
        other = initial_weights(shapes, init, seed=4)
        assert (other["f.weight"] != weights["f.weight"]).any()


def test_torch_rule_is_torchs_own_distribution():
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(300, 400)
    ours = initial_weights({"f.weight": (400, 300), "f.bias": (400,)}, InitConfig("torch"), seed=0)
    for name, theirs in (("f.weight", layer.weight), ("f.bias", layer.bias)):
        bound = 1 / np.sqrt(300)
        for values in (ours[name], theirs.detach().numpy()):
            assert np.abs(values).max() <= bound
            assert np.abs(values).max() > 0.97 * bound


def test_streams_depend_on_all_their_arguments():
    draws = {
        tuple(stream(*arguments).random(3))
        for arguments in [(0, "order", 0), (1, "order", 0), (0, "augment", 0), (0, "order", 1)]
    }
    assert len(draws) == 4
    assert tuple(stream(0, "order", 0).random(3)) in draws


class OneOfTwo(Alone):
    """A rank beside another, whose device is not the same unless they are alike."""

    world = 2

    def __init__(self, alike: bool) -> None:
        self._alike = alike

    def all_reduce(self, array):
        return array + (not self._alike)


def test_ranks_on_different_devices_are_refused():
    pytest.importorskip("torch")
    config = compose("backend=torch", "device=cpu", "model=linear_baseline")
    with pytest.raises(ConfigError, match="means cuda for some ranks and cpu for others"):
        open_backend(config, OneOfTwo(alike=False))
    assert open_backend(config, OneOfTwo(alike=True)).device == "cpu"


def state_of(step: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Weights of a batch normalisation, and a state with them after so many steps."""
    names = "weight", "running_mean", "running_var"
    weights = {f"bn.{name}": np.full(3, 0.5, np.float32) for name in names}
    state = {f"model.{name}": array for name, array in weights.items()}
    state |= {"optimizer.step": np.asarray(step), "optimizer.lr": np.asarray(0.0)}
    state["scheduler.last_epoch"] = np.asarray(0)
    kinds = ("exp_avg", "exp_avg_sq", "sum", "momentum_buffer") if step else ()
    return weights, state | {f"optimizer.{k}.bn.weight": np.zeros(3, np.float32) for k in kinds}


def check(weights: dict[str, np.ndarray], state: dict[str, np.ndarray]) -> None:
    kinds = ("exp_avg", "exp_avg_sq", "sum", "momentum_buffer")
    check_state(state, weights, ["bn.weight"], kinds)


@pytest.mark.parametrize("step", [0, 1])
def test_a_state_is_whole_and_squares_and_counts_are_not_negative(step):
    weights, state = state_of(step)
    check(weights, state)
    squares = ("exp_avg_sq.", "sum.", "running_var")
    for name, array in state.items():
        rest = {key: value for key, value in state.items() if key != name}
        with pytest.raises(ValueError, match=rf"missing \['{re.escape(name)}'\], unknown"):
            check(weights, rest)
        with pytest.raises(ValueError, match=rf"missing nothing, unknown \['{name}x'\]"):
            check(weights, state | {f"{name}x": array})
        if name == "optimizer.step" and not step:
            continue  # any other number of steps has left arrays
        negative = array.copy()
        negative.flat[0] = -1
        if array.ndim and not any(word in name for word in squares):
            check(weights, state | {name: negative})
        else:
            with pytest.raises(ValueError, match=rf"^{name} must not be negative$"):
                check(weights, state | {name: negative})
