"""Batch norm over ranks: here, threads that meet at a barrier."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from numpy_models import (
    BatchNorm2d,
    LeNet5BN,
    Sequential,
    SyncBatchNorm2d,
    convert_sync_batchnorm,
)


def run_ranks(task, ranks: int) -> list:
    """Return ``task(rank, gather)`` of every rank, all at once."""
    barrier, slots = threading.Barrier(ranks), [None] * ranks

    def run(rank: int):
        def gather(part: np.ndarray) -> list[np.ndarray]:
            slots[rank] = part.copy()
            barrier.wait()
            parts = list(slots)
            barrier.wait()
            return parts

        return task(rank, gather)

    with ThreadPoolExecutor(ranks) as pool:
        return list(pool.map(run, range(ranks)))


@pytest.mark.parametrize("bounds", [[0, 25, 50], [0, 3, 4, 50]], ids=["even", "uneven"])
def test_the_parts_together_are_the_batch(bounds) -> None:
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 50, 3, 5, 4)) * 3 + 100
    whole = Sequential(BatchNorm2d(3)).to(np.float64)
    whole.flat_parameters[...] = rng.standard_normal(6)
    y, dx = whole(x), whole.backward(dy)

    def task(rank: int, gather):
        part = slice(bounds[rank], bounds[rank + 1])
        net = Sequential(BatchNorm2d(3)).to(np.float64)
        net.flat_parameters[...] = whole.flat_parameters
        net = convert_sync_batchnorm(net, gather)
        return net(x[part]), net.backward(dy[part]), net.flat_gradients, net.buffers()

    outputs, gradients, of_parameters, buffers = zip(*run_ranks(task, len(bounds) - 1), strict=True)
    # Moments merged in another order, at values around 100: 1e-9 is a hundredfold of the roundings.
    close = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(np.concatenate(outputs), y, **close)
    np.testing.assert_allclose(np.concatenate(gradients), dx, **close)
    np.testing.assert_allclose(sum(of_parameters), whole.flat_gradients, **close)
    for name, expected in whole.buffers().items():
        np.testing.assert_allclose(buffers[0][name], expected, **close)
        assert all(np.array_equal(each[name], buffers[0][name]) for each in buffers), name


def test_conversion_keeps_state_names_and_mode() -> None:
    net = LeNet5BN().eval()
    state = net.state_dict()
    converted = convert_sync_batchnorm(net, lambda part: [part])
    kinds = [type(leaf) for leaf in converted.leaves().values()]
    assert kinds.count(SyncBatchNorm2d) == 2
    assert BatchNorm2d not in kinds
    assert not any(leaf.training for leaf in converted.leaves().values())
    after = converted.state_dict()
    assert list(after) == list(state)
    assert all(np.array_equal(after[name], state[name]) for name in state)
    size = converted.flat_parameters.size
    assert size == sum(array.size for array in converted.parameters().values())


def test_one_value_per_channel_is_counted_over_all_ranks() -> None:
    one = np.ones((1, 1, 1, 1), np.float32)
    layer = SyncBatchNorm2d(BatchNorm2d(1), lambda part: [part, part])
    assert np.isfinite(layer(one)).all()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        SyncBatchNorm2d(BatchNorm2d(1), lambda part: [part])(one)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_conversion_keeps_options_and_precision(dtype) -> None:
    options = {"eps": 0.5, "momentum": None, "affine": False}
    net = Sequential(BatchNorm2d(2, **options), BatchNorm2d(3, track_running_stats=False))
    for converted in (
        convert_sync_batchnorm(net.to(dtype), lambda part: [part]),
        Sequential(convert_sync_batchnorm(BatchNorm2d(2, **options).to(dtype), lambda p: [p])),
    ):
        first = converted.layers["0"]
        assert (first.eps, first.momentum, first.num_features) == (0.5, None, 2)
        assert converted.dtype == first.dtype == dtype
        assert list(first.parameters()) == []
        assert first.buffers()["running_mean"].dtype == dtype
    assert list(net.layers["1"].state_dict()) == ["weight", "bias"]
