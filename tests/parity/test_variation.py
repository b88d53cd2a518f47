"""The numbers that a pair is tried on besides its own, to the last one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from torch import nn
from torch.nn import functional as F

from parity.numpy_runs import other
from parity.task import Setting, Task
from parity.variation import drawn, hard, samples_of, taken, variations

ONE, MANY, WIDE = (
    ("one sample with exact zeros", False),
    ("three samples more with large values", True),
    ("images of another width", True),
)


def tried(module: nn.Module, inputs, **options) -> dict[tuple[str, bool], Task]:
    task = Task(inputs, {"": np.zeros(99)}, seed=5, **options)
    found = variations(Setting("pair", module, None, task))
    return {(label, refusable): varied for label, varied, refusable in found}


def test_images_are_cut_repeated_and_widened() -> None:
    images = (np.arange(12, dtype=np.float32).reshape(2, 1, 2, 3) - 2) / 4  # -0.5 to 2.25
    found = tried(nn.ReLU(), images)
    assert list(found) == [ONE, MANY, WIDE]
    one, many, wide = (task.arrays[""] for task in found.values())
    np.testing.assert_array_equal(one, [[[[0, -0.25, 0], [0, 0.5, 0.75]]]], strict=False)
    again = images[[0, 1, 0, 1, 0]]
    again[:, 0, 0, 0], again[:, 0, 1, 2] = -0.5, 2.25
    np.testing.assert_array_equal(many, again, strict=True)
    np.testing.assert_array_equal(wide, images[..., [0, 1, 2, 0, 1, 2]], strict=True)
    assert list(tried(nn.ReLU(), images, targets=np.zeros(3))) == [WIDE]  # whose samples are not
    for task in found.values():  # the old upstream gradient would not fit
        assert task.upstream is not None
        upstream = np.random.default_rng((5, 1)).standard_normal(task.arrays[""].shape)
        np.testing.assert_array_equal(task.upstream[""], upstream.astype(np.float32), strict=True)


def test_images_too_narrow_or_of_whole_numbers_are_not_widened() -> None:
    assert WIDE not in tried(nn.ReLU(), np.ones((2, 1, 3, 1), np.float32))
    assert WIDE in tried(nn.ReLU(), np.ones((2, 1, 3, 2), np.float32))
    assert WIDE not in tried(nn.ReLU(), np.ones((2, 3, 4), np.float32))
    assert WIDE not in tried(nn.Embedding(4, 2), np.ones((2, 1, 3, 3), int))
    assert WIDE not in tried(nn.Bilinear(2, 2, 3), (np.ones((4, 2), np.float32),) * 2)


def test_what_torch_refuses_is_left_out() -> None:
    rows = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    assert list(tried(nn.Linear(3, 2), rows)) == [ONE, MANY]
    assert list(tried(nn.BatchNorm1d(3), rows)) == [MANY]  # no variance of one sample


@pytest.mark.parametrize(
    ("ends", "extremes"),
    [
        ((-2.0, 9.0), (-200.0, 900.0)),
        ((-9.0, 2.0), (-900.0, 200.0)),
        ((-1.0, 9.0), (-1.0, 9.0)),
        ((-9.0, 1.0), (-9.0, 1.0)),
        ((0.5, 9.0), (0.5, 9.0)),
        ((-2.0, 9999.0), (-200.0, 999900.0)),
        ((-2.0, 10000.0), (-2.0, 10000.0)),
        ((-10000.0, 2.0), (-10000.0, 2.0)),
    ],
)
def test_large_values_are_those_of_the_range_or_a_hundred_times(ends, extremes) -> None:
    inputs = np.linspace(*ends, 8, dtype=np.float32).reshape(2, 4)
    many = tried(nn.ReLU(), inputs)[MANY].arrays[""]
    expected = inputs[[0, 1, 0, 1, 0]]
    expected[:, 0], expected[:, -1] = extremes
    np.testing.assert_array_equal(many, expected)
    assert inputs[0, 0] == np.float32(ends[0])  # the caller's own are left alone


class Several(nn.Module):
    """Whole numbers, one number for each sample, and samples whose range has no zero."""

    def forward(self, x, tags, scale):
        return x * scale[:, None] + tags


def test_each_input_is_varied_by_what_it_is() -> None:
    x = np.array([[1.0, 2, 3], [4, 5, 6]])
    tags, scale = np.array([[1], [2]]), np.array([1.0, 3.0])
    found = tried(Several(), (x, tags, scale))
    assert list(found) == [ONE, MANY]
    one, many = (task.inputs.args for task in found.values())
    for given, expected in zip(one, (x[:1], tags[:1], scale[:1]), strict=True):
        np.testing.assert_array_equal(given, expected)
    order = [0, 1, 0, 1, 0]
    ends = x[order]
    ends[:, 0], ends[:, -1] = 1, 6
    for given, expected in zip(many, (ends, tags[order], scale[order]), strict=True):
        np.testing.assert_array_equal(given, expected)


def test_zeros_are_put_where_the_range_begins_or_ends_with_one() -> None:
    for inputs in ([[0.0, 1, 2, 3]], [[-1.0, -2, -3, 0]]):
        one = tried(nn.ReLU(), np.array(inputs))[ONE].arrays[""]
        np.testing.assert_array_equal(one, np.where([[1, 0, 0, 1]], 0, inputs))
    infinite = np.array([[np.inf, -1, np.nan, 2]])  # of the finite ones
    np.testing.assert_array_equal(
        tried(nn.Identity(), infinite)[ONE].arrays[""], [[0, -1, np.nan, 0]]
    )


def test_samples_are_counted_and_taken_with_their_targets_and_gradients() -> None:
    x, y = np.arange(6.0).reshape(3, 2), np.array([7, 8, 9])
    assert samples_of(Task(x)) == samples_of(Task((x, y), targets=y)) == 3
    for mixed in (Task((x, x[:2])), Task(x, targets=y[:2]), Task((x, np.array(1.0)))):
        assert samples_of(mixed) == 0
        if mixed.targets is None:
            assert not tried(Several(), mixed.inputs)
    assert samples_of(Task(np.array(1.0))) == 0
    task = Task(x, {"[0]": x * 2, "[1]": np.ones(2), "[2]": np.array(1.0)}, y)
    cut = taken(task, np.array([2, 0]))
    np.testing.assert_array_equal(cut.arrays[""], x[[2, 0]])
    np.testing.assert_array_equal(cut.targets, [9, 7])
    assert cut.upstream is not None
    np.testing.assert_array_equal(cut.upstream["[0]"], 2 * x[[2, 0]])
    assert [cut.upstream[name].shape for name in ("[1]", "[2]")] == [(2,), ()]
    assert taken(Task(x), np.array([1])).targets is None


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ([-3.0, 5.0], (-3, 5)),
        ([4.0, 4.0], (0, 4)),
        ([-4.0, -4.0], (-4, 1)),
        ([0.0, 0.0], (0, 1)),
        ([np.inf, 2.0], (0, 2)),
        ([np.inf, np.nan], (0, 1)),
    ],
)
def test_random_inputs_are_uniform_over_the_range(values, ends) -> None:
    array = np.resize(np.array(values, np.float32), (50, 2))
    tags = np.arange(50)
    found = drawn(Task((array, tags), seed=3))
    u = np.random.default_rng((3, 4)).random((50, 2))
    expected = ((1 - u) * ends[0] + u * ends[1]).astype(np.float32)
    np.testing.assert_array_equal(found.inputs.args[0], expected, strict=True)
    np.testing.assert_array_equal(found.inputs.args[1], tags, strict=True)


def test_numbers_without_axes_stay_arrays() -> None:
    task = Task((np.ones((2, 1)), np.array(2.5, np.float32)), {"": np.array(1.5)})
    for made in (drawn(task), other(task)):
        assert type(made.inputs.args[1]) is np.ndarray
        assert made.inputs.args[1].dtype == np.float32
        assert made.upstream is not None
        assert type(made.upstream[""]) is np.ndarray


@pytest.mark.parametrize(
    ("given", "tied"),
    [
        ([-1, -0.3, 0.1, 0.4, 1], [-1, -0.5, 0, 0.5, 1]),
        ([-1, -0.2, 0.6, 1.2, 2], [-1, 0, 0.5, 1.25, 2]),  # the nearest to zero is zero
        ([1, 1.2, 1.3, 1.9, 2], [1, 1.25, 1.25, 2, 2]),
        ([3, 3, 3, 3, 3], [3, 3, 3, 3, 3]),
        ([0.5, np.inf, 1, 2, 0.6], [0.5, np.inf, 1, 2, 0.6]),
    ],
)
def test_numbers_that_tie_are_five_between_the_ends(given, tied) -> None:
    task = Task(np.array([given], np.float32), {"": np.zeros(99)}, seed=2)
    made = hard(Setting("pair, act alone", nn.ReLU(), "network", task, layer="act"))
    assert made is not None
    assert (made.name, made.layer, made.network) == (
        "pair, act alone, on equal numbers",
        "act",
        "network",
    )
    np.testing.assert_array_equal(made.task.arrays[""], np.array([tied], np.float32), strict=True)
    assert made.task.upstream is not None
    assert made.task.upstream[""].shape == (1, 5)


def test_only_layers_without_parameters_and_cross_entropies_are_made_hard() -> None:
    task = Task(np.array([[1.0, 2.0, 4.0]]), {"": np.zeros((1, 3))})
    for module in (nn.Linear(3, 3), nn.Sequential(nn.ReLU()), nn.BatchNorm1d(3, affine=False)):
        assert hard(Setting("pair", module, None, task, layer="a")) is None
    whole_numbers = replace(task, inputs=(task.inputs, np.array([3, 1, 2])))
    made = hard(Setting("pair", _First(), None, whole_numbers))
    assert made is not None
    np.testing.assert_array_equal(made.task.inputs.args[1], [3, 1, 2])
    loss = Setting("pair, loss", nn.Identity(), None, task, layer="loss")
    for criterion in (nn.CrossEntropyLoss(), F.cross_entropy):
        made = hard(replace(loss, task=replace(task, torch_criterion=criterion)))
        assert made is not None
        assert made.name == "pair, loss, logits + 1000"
        np.testing.assert_array_equal(made.task.arrays[""], [[1001.0, 1002.0, 1004.0]])
    for criterion in (nn.MSELoss(), F.mse_loss):
        assert hard(replace(loss, task=replace(task, torch_criterion=criterion))) is None


class _First(nn.Module):
    def forward(self, x, _):
        return x * 2
