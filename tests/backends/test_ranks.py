"""Both backends over several ranks do what they do on one, whatever a batch leaves to each."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tests.backends import programs
from tests.backends.threads import Team
from tests.support import compose, few_digits
from training.backends import numpy
from training.backends.opening import open_backend
from training.backends.protocol import EpochPlan, Totals
from training.backends.ranks import ALONE, Ranks

ORDER, STEP = np.arange(4), np.array([0, 1])
#: Batches of 16 and 15 images, of as many as there are ranks, and of fewer.
BATCHES = [0, 16, 31, 34, 36]
#: How far sums in another order may take losses, logits, parameters and buffers, by their norms.
#: Batch normalisation divides by the std of what may be two images; ReLUs and maxima decide.
NETWORKS = {
    "tanh": (("model=lenet5_tanh", "data.shift=2"), 1e-5),
    "batch-norm": (("model=lenet5_variant", "model.arguments.batch_norm=true"), 1e-2),
    "dropout": (("model=deepcnn21", "model.arguments.depth=4"), 1e-2),
}


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize(("settings", "tolerance"), NETWORKS.values(), ids=NETWORKS)
def test_three_ranks_are_one(backend, settings, tolerance):
    if backend == "torch":
        pytest.importorskip("torch")
    config = compose(f"backend={backend}", "device=cpu", "optimizer=sgd", *settings)
    images = few_digits(config.model.image_size)
    train = partial(programs.train, images, config=config, offsets=BATCHES)
    totals, logits, state = train(ranks=ALONE)
    ours, again, _ = Team(3).run(lambda ranks: train(ranks=ranks))
    assert ours[0] == again[0]
    np.testing.assert_array_equal(ours[1], again[1])
    assert (ours[0].images, totals.images) == (36, 36)
    assert ours[0].correct == totals.correct
    pairs = {"loss": (ours[0].loss, totals.loss), "logits": (ours[1], logits)}
    names = [name for name in state if name.startswith("model.")]
    pairs |= {name: (ours[2][name], state[name]) for name in names}
    assert ours[2].keys() == state.keys()
    for name, (found, expected) in pairs.items():
        distance = np.linalg.norm(np.float64(found) - expected)
        assert distance <= tolerance * max(float(np.linalg.norm(expected)), 1e-2), name


@pytest.mark.parametrize(
    ("world", "size", "sums"), [(3, 4, 2), (3, 3, 2), (3, 2, 0), (2, 1, 0), (1, 1, 0)]
)
def test_numpy_exchanges_nothing_where_each_rank_has_the_whole_batch(world, size, sums):
    """Of a step, gradients are exchanged, and the loss with the right answers."""
    config = compose("backend=numpy", "model=linear_baseline", "optimizer=sgd")

    def exchanged(ranks: Ranks) -> int:
        backend, plan = open_backend(config, ranks), EpochPlan(ORDER[:size], STEP * size, None, 0)
        backend.place(few_digits())
        backend.begin_epoch(plan, Totals())
        arrays: list[np.ndarray] = []
        reduce, ranks.all_reduce = ranks.all_reduce, lambda a: arrays.append(a) or reduce(a)
        backend.train(0, 1)
        return len(arrays)

    assert Team(world).run(exchanged) == [sums] * world


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_a_backend_keeps_freed_memory(backend, monkeypatch):
    """Without which torch's steps on a CPU take up to a quarter longer."""
    kept = []
    module = numpy
    if backend == "torch":
        module = pytest.importorskip("training.backends.torch.devices").environment
    monkeypatch.setattr(module, "keep_freed_memory", lambda: kept.append(True))
    open_backend(compose(f"backend={backend}", "device=cpu", "model=linear_baseline"))
    assert kept == [True]
