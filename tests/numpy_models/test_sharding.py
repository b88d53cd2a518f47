"""A batch split over threads: same bits every time, same numbers whatever the split."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from numpy_models import (
    Adam,
    BatchNorm2d,
    CrossEntropyLoss,
    Dropout,
    Layer,
    Linear,
    Sequential,
    build,
)
from numpy_models.sharding import Rendezvous, ShardThreads, shard_bounds

pytestmark = pytest.mark.kernels

NETWORKS = {"lenet5_relu": 28, "lenet5_tanh": 32, "deepcnn21": 28, "lenet5_bn": 28}


BATCH = 150


def network(name: str, threads: int, dtype: type = np.float32) -> Sequential:
    net = build(name)
    net.reset_parameters(7)
    net.threads = threads
    for layer_name, layer in net.layers.items():
        if isinstance(layer, Dropout):
            masks = np.random.default_rng(len(layer_name))
            layer.draw = lambda shape, masks=masks: masks.random(shape, np.float32)
    return net.to(dtype)


def run(net: Sequential, size: int, rng: np.random.Generator) -> np.ndarray:
    criterion, x = CrossEntropyLoss(), rng.standard_normal((BATCH, 1, size, size))
    y = net.forward(x.astype(net.dtype))
    criterion.forward(y, rng.integers(0, 10, BATCH))
    net.backward(criterion.backward(), input_gradient=False)
    return y


def train(name: str, threads: int) -> dict[str, np.ndarray]:
    net, rng = network(name, threads), np.random.default_rng(1)
    optimizer = Adam(net)
    for _ in range(3):
        run(net, NETWORKS[name], rng)
        optimizer.step()
    return net.state_dict()


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_same_thread_count_gives_the_same_bits(name: str, threads: int) -> None:
    first, second = train(name, threads), train(name, threads)
    assert all(np.array_equal(first[key], second[key]) for key in first)


# In float32 the last bits may decide a ReLU or a maximum, and with it a whole image's share of a
# gradient. In float64 they decide none of these, and in lenet5_tanh there is nothing to decide.
@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, np.float64) for name in NETWORKS), ("lenet5_tanh", np.float32)]
)
def test_thread_count_changes_no_more_than_rounding(name: str, dtype: type) -> None:
    size, results = NETWORKS[name], []
    for threads in (1, 3):
        net = network(name, threads, dtype)
        y = run(net, size, np.random.default_rng(1))
        results.append({"y": y, **net.gradients(), **net.buffers()})
    alone, split = results
    # Other shards are another order of the sums over batch and positions: √n roundings. A bias
    # before batch norm has gradient zero; what cancels there is as large as its weight's gradient.
    rounding = np.sqrt(BATCH * size * size) * np.finfo(dtype).eps
    for key, expected in alone.items():
        scale = max(np.abs(alone[k]).max() for k in (key, key.replace(".bias", ".weight")))
        np.testing.assert_allclose(split[key], expected, 0, rounding * scale, err_msg=key)


def test_statistics_and_gradients_are_those_of_the_whole_batch() -> None:
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 50, 3, 5, 4)) * 3 + 100
    results = []
    for threads in (1, 4):
        net = Sequential(BatchNorm2d(3)).to(np.float64)
        net.threads = threads
        results.append(
            (net(x), net.backward(dy), *net.gradients().values(), *net.buffers().values())
        )
    for alone, split in zip(*results, strict=True):
        np.testing.assert_allclose(split, alone, rtol=1e-9, atol=1e-9)


def test_masks_do_not_depend_on_the_split() -> None:
    x = np.ones((9, 20), np.float32)
    outputs = []
    for threads in (1, 3):
        net = Sequential(Dropout(0.5, kind="original"))
        net.threads = threads
        net.layers["0"].draw = lambda shape: np.random.default_rng(3).random(shape, np.float32)
        outputs.append(net(x))
    assert np.array_equal(*outputs)
    assert 0 < outputs[0].mean() < 1


class Centred(Layer):
    """x less its mean over the batch: a layer that synchronises and knows nothing of the others."""

    synchronises = True

    def forward(self, x: np.ndarray) -> np.ndarray:
        parts = self.exchange((x.shape[1], x.sum(axis=1)))
        samples, total = (sum(column) for column in zip(*parts, strict=True))
        if self.primary:
            self.buffers["forwards"] += 1
        return x - (total / samples)[:, None]


class Noisy(Layer):
    """x with noise in training: a layer that draws and knows nothing of the others."""

    def draw_uniforms(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.random.default_rng(shape).random(shape)

    def forward(self, x: np.ndarray) -> np.ndarray:
        return x + self.uniforms if self.training else x.copy()


@pytest.mark.parametrize("threads", [1, 3])
def test_any_layer_may_synchronise(threads: int) -> None:
    layer = Centred()
    layer.buffers["forwards"] = np.zeros((), np.int64)
    net = Sequential(layer).to(np.float64)
    net.threads = threads
    x = np.arange(20.0).reshape(10, 2)
    np.testing.assert_allclose(net(x), x - x.mean(axis=0), rtol=1e-15)
    assert net.buffers()["0.forwards"] == 1
    np.testing.assert_array_equal(layer.copy().forward(x.T), (x - x.mean(axis=0)).T)


@pytest.mark.parametrize("threads", [1, 3])
def test_any_layer_may_draw_in_training(threads: int) -> None:
    net = Sequential(Noisy()).to(np.float64)
    net.threads = threads
    x = np.zeros((10, 2))
    np.testing.assert_array_equal(net(x), np.random.default_rng((10, 2)).random((10, 2)))
    np.testing.assert_array_equal(net.eval()(x), x)


def test_more_threads_than_samples() -> None:
    net = Sequential(Linear(4, 2))
    net.threads = 8
    assert net(np.ones((3, 4), np.float32)).shape == (3, 2)


@pytest.mark.parametrize("samples", [1, 5, 64, 129, 1000])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_bounds_cover_the_batch_without_gaps(samples: int, threads: int) -> None:
    for synchronised in (False, True):
        bounds = shard_bounds(samples, threads, synchronised)
        assert bounds[0][0] == 0
        assert bounds[-1][1] == samples
        assert all(a[1] == b[0] for a, b in pairwise(bounds))
        assert all(stop > start for start, stop in bounds)
        assert len(bounds) <= threads or not synchronised


def test_a_failing_shard_frees_the_others_and_is_the_one_reported() -> None:
    rendezvous = Rendezvous(3)

    def task(shard: int) -> None:
        if shard == 1:
            raise ValueError("shard 1 is broken")
        rendezvous.exchange(shard, (shard,))

    with pytest.raises(ValueError, match="shard 1 is broken"):
        ShardThreads(3).run(task, 3, rendezvous.abort)


def test_network_still_works_after_a_shard_failed() -> None:
    net = Sequential(BatchNorm2d(1))
    net.threads = 2
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        net(np.ones((1, 1, 1, 1), np.float32))
    assert np.isfinite(net(np.arange(8, dtype=np.float32).reshape(4, 1, 1, 2))).all()


@pytest.mark.parametrize("threads", [0, -1, True, 1.5])
def test_threads_must_be_a_positive_whole_number(threads) -> None:
    with pytest.raises(ValueError, match="threads must be a whole number"):
        Sequential(Linear(1, 1)).threads = threads


def test_small_batches_are_not_worth_many_threads() -> None:
    net = build("lenet5_relu")
    assert net.worthwhile_threads((1, 1, 28, 28), 8) == 1
    assert net.worthwhile_threads((10_000, 1, 28, 28), 8) == 8
    counts = [net.worthwhile_threads((n, 1, 28, 28), 4) for n in range(1, 400, 7)]
    assert counts == sorted(counts)
