"""A batch in parts is the batch."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_models import (
    CrossEntropyLoss,
    Dropout,
    Linear,
    MSELoss,
    Residual,
    Sequential,
    build,
    loss_and_gradients,
    outputs,
)
from numpy_models.microbatches import _bounds

BATCH = 50


def batch(size: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.standard_normal((BATCH, 1, size, size)).astype(dtype), rng.integers(0, 10, BATCH)


def shared_masks(net: Sequential) -> None:
    """One generator for all dropout layers, as in training: the order of draws counts."""
    generator = np.random.default_rng(5)
    for leaf in net.leaves().values():
        if isinstance(leaf, Dropout):
            leaf.draw = lambda shape: generator.random(shape, np.float32)


# In float32 the last bits may decide a ReLU or a maximum, and with it a whole image's share of a
# gradient.
@pytest.mark.parametrize("name", ["lenet5_relu", "lenet5_tanh", "deepcnn21"])
def test_the_split_changes_no_more_than_rounding(name: str) -> None:
    x, targets = batch(32 if name == "lenet5_tanh" else 28, np.float64)
    results = []
    for size in (BATCH, 7):
        net = build(name).to(np.float64)
        net.reset_parameters(7)
        shared_masks(net)
        loss, y = loss_and_gradients(net, CrossEntropyLoss(), x, targets, size=size)
        results.append({"loss": loss, "outputs": y, **net.gradients()})
    for key, expected in results[0].items():
        # √n roundings of a sum over batch and positions.
        rounding = np.sqrt(x.size) * np.finfo(np.float64).eps * np.abs(expected).max()
        np.testing.assert_allclose(results[1][key], expected, 0, rounding, err_msg=key)


@pytest.mark.parametrize("name", ["lenet5_relu", "lenet5_bn", "deepcnn21"])
def test_the_same_batch_gives_the_same_bits(name: str) -> None:
    x, targets = batch(28, np.float32)
    gradients = []
    for _ in range(2):
        net = build(name)
        net.reset_parameters(7)
        shared_masks(net)
        loss_and_gradients(net, CrossEntropyLoss(), x, targets)
        gradients.append(net.flat_gradients.copy())
    assert np.array_equal(*gradients)


def test_where_samples_mix_the_batch_stays_whole() -> None:
    x, targets = batch(28, np.float32)
    net, other = build("lenet5_bn"), build("lenet5_bn")
    other.load_state_dict(net.state_dict())
    criterion = CrossEntropyLoss()
    loss, y = loss_and_gradients(net, criterion, x, targets)
    assert np.array_equal(y, other(x))
    assert loss == criterion(y, targets)
    assert net.buffers()["bn2.num_batches_tracked"] == 1


@pytest.mark.parametrize("drawn", ["by the layer", "by the caller"])
def test_masks_do_not_depend_on_the_split(drawn: str) -> None:
    x, seen = np.ones((9, 20), np.float32), []
    for size in (9, 2):
        net = Sequential(Residual(Dropout(0.5)), Linear(20, 20), Dropout(0.5, kind="original"))
        net.reset_parameters(0)
        dropouts = [leaf for leaf in net.leaves().values() if isinstance(leaf, Dropout)]
        for number, leaf in enumerate(dropouts):
            leaf._rng = np.random.default_rng(number)
        if drawn == "by the caller":
            shared_masks(net)
        before = [leaf.draw for leaf in dropouts]
        seen.append(loss_and_gradients(net, MSELoss(), x, x, size=size)[1])
        assert [leaf.draw for leaf in dropouts] == before
    # The sums of a product depend on its shape; a wrong mask is off by far more.
    np.testing.assert_allclose(*seen, atol=1e-5)


def test_the_shares_of_parts_add_up_to_the_batch() -> None:
    x, targets = batch(28, np.float64)
    net, criterion = build("lenet5_relu").to(np.float64), CrossEntropyLoss()
    loss, _ = loss_and_gradients(net, criterion, x, targets)
    gradients, shares = net.flat_gradients.copy(), []
    for part in (slice(0, 11), slice(11, BATCH)):
        share, _ = loss_and_gradients(net, criterion, x[part], targets[part], whole=BATCH)
        shares.append((share, net.flat_gradients.copy()))
    np.testing.assert_allclose(sum(share for share, _ in shares), loss, rtol=1e-12)
    np.testing.assert_allclose(sum(part for _, part in shares), gradients, atol=1e-12)


def test_a_failing_batch_gives_the_draws_back() -> None:
    net = Sequential(Linear(4, 3), Dropout(0.5))
    targets = np.array([0, 1, 2, 9])  # out of range in the second micro-batch
    with pytest.raises(ValueError, match=r"lie in 0\.\.2"):
        loss_and_gradients(net, CrossEntropyLoss(), np.ones((4, 4), np.float32), targets, size=2)
    assert net.layers["1"].draw is None


def test_outputs_are_evaluations_and_restore_the_mode() -> None:
    x, _ = batch(28, np.float64)
    net = build("deepcnn21").to(np.float64).train()
    y = outputs(net, x, size=8)
    assert net.training
    np.testing.assert_allclose(y, net.eval()(x), rtol=1e-12, atol=1e-12)
    assert not net.training


@pytest.mark.parametrize("samples", [1, 3, 4, 7, 8, 11, 12, 13, 16])
def test_every_sample_is_in_one_micro_batch(samples: int) -> None:
    net = Sequential(Linear(1, 1))
    bounds = _bounds(net, samples, 8)
    assert np.concatenate([np.arange(samples)[part] for part in bounds]).tolist() == list(
        range(samples)
    )
    sizes = [part.stop - part.start for part in bounds]
    assert len(sizes) == 1 or min(sizes) >= 4
    assert max(sizes) <= 12
