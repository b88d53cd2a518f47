"""Plans, progress, environment: what needs no network."""

from __future__ import annotations

import json
import os
import sys
from functools import partial

import numpy as np
import pytest

from tests.support import compose
from training import environment
from training.backends.protocol import LayerRow, Totals, pixel_scale
from training.errors import did_you_mean
from training.storage.tables import Row
from training.trainer import console
from training.trainer.plan import plan_epoch
from training.trainer.progress import Progress

ROW = Row(1, 1e-3, 0.5, 0.8, 0.4, 0.9, 1.5, 1000.0)


def test_plan_visits_every_image_once():
    plan = plan_epoch(compose("trainer.batch_size=32"), 100, epoch=3)
    assert sorted(plan.indices) == list(range(100))
    assert plan.offsets.tolist() == [0, 32, 64, 96, 100]
    assert plan.steps == 4
    assert plan.first_step == 12
    assert plan.flips is None


def test_plan_of_fewer_steps_than_there_are_images_for():
    drawn = ("data.sampling=replacement", "trainer.batch_size=32", "trainer.steps_per_epoch=2")
    plan = plan_epoch(compose(*drawn), 100, epoch=3)
    assert (plan.offsets.tolist(), plan.first_step) == ([0, 32, 64], 6)


def test_plan_with_replacement_and_flips():
    config = compose("data.sampling=replacement", "trainer.batch_size=32", "data.flip=0.5")
    plan = plan_epoch(config, 100, epoch=0)
    assert plan.offsets.tolist() == [0, 32, 64, 96]
    assert len(plan.indices) == len(plan.flips) == 96
    assert 20 < plan.flips.sum() < 76
    assert len(set(plan.indices)) < 96


def test_plans_differ_by_epoch_and_seed_and_repeat():
    orders = [
        tuple(plan_epoch(compose(f"seed={seed}"), 100, epoch).indices)
        for seed, epoch in [(0, 0), (0, 1), (1, 0), (0, 0)]
    ]
    assert orders[0] == orders[3]
    assert len(set(orders)) == 3


@pytest.mark.parametrize(
    "settings", [("flip=0.5",), ("shift=2",), ("rotation=10",), ("flip=0.5", "shift=2")], ids=str
)
def test_augmentation_is_drawn_anew_in_each_epoch(settings):
    """From seed and epoch alone, and beside the order, which it leaves as it is."""
    chosen = [f"data.{setting}" for setting in settings]
    drawn, plain = [], plan_epoch(compose(), 400, epoch=1)
    assert (plain.flips, plain.moves) == (None, None)
    for seed, epoch in [(0, 0), (1, 1), (0, 1), (0, 1)]:
        plan = plan_epoch(compose(f"seed={seed}", *chosen), 400, epoch)
        drawn.append(plan.flips if plan.moves is None else plan.moves)
    np.testing.assert_array_equal(plan.indices, plain.indices)
    np.testing.assert_array_equal(drawn[2], drawn[3])
    assert len({array.tobytes() for array in drawn}) == 3
    if settings == ("flip=0.5",):
        assert (plan.moves, plan.flips.shape, plan.flips.dtype) == (None, (400,), np.bool_)
        assert 150 < plan.flips.sum() < 250
        return
    assert plan.flips is None  # the moves mirror, too
    turned, shifted = plan.moves[:, :, :2], plan.moves[:, :, 2]
    mirrored = np.linalg.det(turned) < 0
    assert 150 < mirrored.sum() < 250 if "flip=0.5" in settings else not mirrored.any()
    angles, rotation = (
        np.rad2deg(np.arcsin(turned[:, 0, 1])),
        10 if "rotation=10" in settings else 0,
    )
    assert 0.95 * rotation <= np.abs(angles).max() <= 1.001 * rotation
    assert (np.abs(shifted).max() > 1.9) == ("shift=2" in settings)
    assert np.abs(shifted).max() <= 2.001


def test_progress_survives_json():
    metrics, steps = [ROW, ROW._replace(epoch=2)], [(1, 1 / 3, 0.5), (2, 0.1, 1)]
    sums = Totals(1 / 3, 4, 9), Totals(0.1, 2, 5)
    progress = Progress(2, 7, *sums, 0.1, metrics, steps, [(1, 0, 0.1, 0.2), (1, 1, 0.3, 0.4)])
    record, tables = json.loads(json.dumps(progress.to_record())), progress.tables()
    assert Progress.from_record(record, tables) == progress
    progress.forget_after(1)
    assert (len(progress.steps), len(progress.evaluations)) == (1, 2)
    for name, table in tables.items():
        for wrong in (table[::-1], table[:, 1:], table[0], table.astype(np.float32)):
            if name != "progress.evaluations" or wrong.shape != table.shape:
                with pytest.raises(ValueError, match="how far its run had got"):
                    Progress.from_record(record, tables | {name: wrong})
    with pytest.raises(ValueError, match="how far its run had got"):
        Progress.from_record(record | {"epoch": 1}, tables)


def test_layer_table():
    text = console.layer_table(
        [LayerRow("c1", "Conv2d", (6, 28, 28), 156), LayerRow("out", "Linear", (10,), 61550)]
    )
    lines = [line.split() for line in text.splitlines()]
    assert lines[1] == ["c1", "Conv2d", "6×28×28", "156"]
    assert lines[-1] == ["total", "61,706"]


def test_bar_only_on_a_terminal(monkeypatch, capsys):
    plan = plan_epoch(compose("trainer.batch_size=10"), 100, epoch=0)
    bar = partial(console.Console().bar, "epoch 1", plan, Progress())
    with bar() as advance:
        advance(5)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with bar() as advance:
        advance(5)
    assert "epoch 1" in capsys.readouterr().err


def test_pixel_scale_is_float32():
    for scaling in ("unit", "standard", "raw"):
        assert all(value.dtype == np.float32 for value in pixel_scale(scaling))


@pytest.mark.parametrize(
    ("backend", "given", "expected"),
    [("numpy", None, "1"), ("numpy", "2", "2"), ("torch", None, None)],
)
def test_blas_keeps_to_one_thread_unless_told_otherwise(backend, given, expected, monkeypatch):
    name = "OPENBLAS_NUM_THREADS"
    monkeypatch.setenv(name, given or "")  # so that what is set here is undone afterwards
    if given is None:
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "numpy")
    environment.prepare_blas(backend)
    assert os.environ.get(name) == expected


def test_the_record_names_the_blas_kernels_in_use():
    assert {"library", "kernels"} <= environment.blas().keys()


def test_did_you_mean():
    known = ["trainer.epochs", "trainer.batch_size", "optimizer.lr"]
    assert did_you_mean("epoch", known) == " (did you mean trainer.epochs?)"
    assert did_you_mean("batchsize", known) == " (did you mean trainer.batch_size?)"
    assert did_you_mean("qqqq", known) == ""
