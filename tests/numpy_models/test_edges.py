"""Windows without a maximum, evaluation without a trace of training, and the names of mistakes."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_models import AvgPool2d, Conv2d, Dropout, Linear, MaxPool2d


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [(2, 2, 0), (3, 2, 1), (2, 1, 1), ((3, 2), (1, 2), (1, 0)), ((2, 4), (2, 3), (1, 2))],
)
@pytest.mark.parametrize("ties", ["first", "all"])
def test_a_window_of_nothing_but_minus_infinity(kernel, stride, padding, ties) -> None:
    """Its gradient goes to its first element inside of the image, as torch's, or to all."""
    torch = pytest.importorskip("torch")
    from torch_models import MaxPool2d as TorchMaxPool2d

    x = np.full((2, 2, 6, 7), -np.inf)
    x[:, 1, ::3, 1::2] = np.random.default_rng(0).standard_normal((2, 2, 3))
    given = torch.from_numpy(x).requires_grad_()
    y = TorchMaxPool2d(kernel, stride, padding, ties=ties)(given)
    dy = np.random.default_rng(1).standard_normal(y.shape)
    y.backward(torch.from_numpy(dy))
    layer = MaxPool2d(kernel, stride, padding, ties=ties).to(np.float64)
    np.testing.assert_array_equal(layer(x), y.detach().numpy())
    np.testing.assert_allclose(layer.backward(dy), given.grad.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
def test_dropout_in_evaluation_is_the_mean_of_training(p) -> None:
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    for kind, factor in (("inverted", 1.0), ("original", 1 - p)):
        layer = Dropout(p, kind).eval()
        np.testing.assert_allclose(layer(x), factor * x, rtol=1e-6)
        np.testing.assert_allclose(layer.backward(x), factor * x, rtol=1e-6)
        assert layer(x).dtype == np.float32


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Conv2d(1, 1, 0), "kernel_size must be .* >= 1, got 0"),
        (lambda: Conv2d(1, 1, 3, stride=0), "stride must be .* >= 1, got 0"),
        (lambda: Conv2d(1, 1, 3, padding=-1), "padding must be .* >= 0, got -1"),
        (lambda: Conv2d(1, 1, 3, padding=(1, True)), r"padding must be .* got \(1, True\)"),
        (lambda: Conv2d(0, 1, 3), r"\(in_channels, out_channels\) must be .* got \(0, 1\)"),
        (lambda: MaxPool2d(2, stride=0), "stride must be .* >= 1, got 0"),
        (lambda: MaxPool2d(0), "kernel_size must be .* >= 1, got 0"),
        (lambda: AvgPool2d(2, padding=-1), "padding must be .* >= 0, got -1"),
        (lambda: AvgPool2d((2, 4), padding=(1, 3)), r"AvgPool2d: padding \(1, 3\) must be at most"),
        (lambda: Linear(0, 1), r"\(in_features, out_features\) must be .* got \(0, 1\)"),
        (lambda: Linear(1, 1.5), r"\(in_features, out_features\) must be .* got \(1, 1.5\)"),
        (lambda: Linear(2, 1)(np.ones((1, 3), np.float32)), "Linear expects 2 features"),
        (lambda: Conv2d(1, 1, 3)(np.ones((1, 9), np.float32)), "Conv2d takes images"),
        (lambda: MaxPool2d(2)(np.ones((1, 9), np.float32)), "MaxPool2d takes images"),
        (lambda: AvgPool2d(9)(np.ones((1, 1, 3, 3), np.float32)), "AvgPool2d would give an empty"),
    ],
)
def test_a_mistake_has_its_name(make, words) -> None:
    with pytest.raises(ValueError, match=f"^{words}"):
        make()
