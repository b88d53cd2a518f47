from __future__ import annotations

import json

import numpy as np

from tests import support
from training.trainer.dataset import held_out


def test_validation_images_are_the_last_of_the_training_set() -> None:
    whole = support.few_digits()
    parted = held_out(whole, 20)
    np.testing.assert_array_equal(parted.train_images, whole.train_images[:-20])
    np.testing.assert_array_equal(parted.test_images, whole.train_images[-20:])
    np.testing.assert_array_equal(parted.test_labels, whole.train_labels[-20:])
    assert len(parted.train_labels) == len(whole.train_labels) - 20


def test_a_run_says_what_it_was_tested_on(call_main, few_digits, no_pictures, tmp_path, capsys):
    short = ("data=digits", "backend=numpy", "backend.threads=1", "trainer.epochs=1")
    assert call_main(*short, "data.validation=20", "hydra.run.dir=here") == 0
    said = capsys.readouterr().out
    assert "tested on 20 images held out of the training set, not on the test images" in said
    assert "validation accuracy" in said
    summary = json.loads((tmp_path / "here" / "summary.json").read_text())
    assert (summary["train_images"], summary["test_images"]) == (76, 20)
    assert "held out" in summary["dataset_note"]


def test_holding_out_everything_is_a_mistake(call_main, few_digits, capsys) -> None:
    assert call_main("data=digits", "backend=numpy", "data.validation=96") == 2
    assert "data.validation=96 leaves none of the 96 training images" in capsys.readouterr().err
