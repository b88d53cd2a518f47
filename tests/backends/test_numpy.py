"""The NumPy backend over several processes does what it does in one."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tests.backends import programs
from tests.backends.programs import Trained
from tests.support import compose, few_digits
from training.backends import numpy, workers
from training.backends.numpy import worthwhile_ranks
from training.backends.ranks import ALONE

#: Batches of 32 and 32 images, one of 31 that divides by nothing, and one with fewer than ranks.
BATCHES = [0, 32, 64, 95, 97]
NORMALISED = ("model=lenet5_variant", "model.arguments.batch_norm=true")
#: How far sums in another order may take losses, logits, parameters and buffers, by their norms.
#: Batch normalisation divides by the std of what may be two images; with the last network's
#: ReLUs and maxima, rounding may become a decision.
NETWORKS = {
    "tanh": (("model=lenet5_tanh",), 1e-5),
    "moved": (("model=lenet5_tanh", "data.shift=2"), 1e-5),
    "batch-norm": (NORMALISED, 1e-4),
    "dropout": (("model=deepcnn21",), 1e-2),
}
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def _start_method(monkeypatch) -> None:
    monkeypatch.setattr(workers, "start_method", lambda: "fork")


def trained(world: int, *model: str, **options) -> Trained:
    config = compose("backend=numpy", "optimizer=sgd", *model)
    images = few_digits(config.model.image_size)
    program = partial(programs.train, config=config, offsets=BATCHES, **options)
    if world == 1:
        return program(images, ALONE)
    return programs.run_on_cores(program, images, world)


def assert_same_bits(one: Trained, other: Trained) -> None:
    assert one[0] == other[0]
    np.testing.assert_array_equal(one[1], other[1])
    assert one[2].keys() == other[2].keys()
    for name, array in one[2].items():
        np.testing.assert_array_equal(array, other[2][name], err_msg=name)


@pytest.mark.parametrize(("model", "tolerance"), NETWORKS.values(), ids=NETWORKS)
def test_several_processes_are_one_and_repeat_their_bits(model, tolerance):
    totals, logits, state = trained(1, *model)
    for world in (2, 3):
        ours = trained(world, *model)
        assert ours[0].images == totals.images == BATCHES[-1]
        pairs = {"loss": (ours[0].loss, totals.loss), "logits": (ours[1], logits)}
        names = [name for name in state if name.startswith("model.")]
        pairs |= {name: (ours[2][name], state[name]) for name in names}
        for name, (found, expected) in pairs.items():
            distance = np.linalg.norm(np.float64(found) - expected)
            scale = max(float(np.linalg.norm(expected)), 1e-3)
            assert distance <= tolerance * scale, (world, name)
        assert_same_bits(trained(world, *model), ours)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_a_resumed_epoch_has_the_same_bits(world):
    whole, resumed = (trained(world, *NORMALISED, stop=stop) for stop in (None, 3))
    assert_same_bits(whole, resumed)


def test_spawned_processes_compute_the_same(monkeypatch):
    forked = trained(2, *NORMALISED)
    monkeypatch.setattr(workers, "start_method", lambda: "spawn")
    assert_same_bits(trained(2, *NORMALISED), forked)


def test_each_core_has_a_cache_line_of_images(monkeypatch):
    monkeypatch.setattr(numpy, "available_cores", lambda: 8)

    def ranks(batch: int, threads: str = "null") -> int:
        settings = f"trainer.batch_size={batch}", f"backend.threads={threads}"
        return worthwhile_ranks(compose("backend=numpy", *settings))

    assert [ranks(batch) for batch in (1, 16, 31, 32, 100, 256)] == [1, 1, 1, 2, 6, 8]
    assert ranks(16, threads="2") == 2
