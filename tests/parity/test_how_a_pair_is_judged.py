"""What a verdict takes into account: shared masks, sides that only infer, the range of the inputs,
variations of them, and departures that are meant.
"""

from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor, nn
from torch.nn import functional as F

from numpy_models import BatchNorm2d, Conv2d, Dropout, Linear, ReLU, Sequential
from parity import DisagreementError, ParityError, assert_parity, compare
from parity.sides import TorchModule
from tests.parity.factories import normal


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.drop = nn.Linear(4, 6), nn.Dropout(0.4)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.drop(self.a(x)), 0.2, self.training)


def test_masks_of_torchs_own_dropout_are_shared() -> None:
    def network(*layers):
        return Sequential(**dict(zip(["a", "drop", "functional"], layers, strict=False)))

    right = network(Linear(4, 6), Dropout(0.4), Dropout(0.2))
    assert_parity(Dropping(), right, normal(5, 4))
    with pytest.raises(DisagreementError):
        assert_parity(Dropping(), network(Linear(4, 6), Dropout(0.4)), normal(5, 4))
    assert_parity(Dropping(), network(Linear(4, 6), Dropout(0.4)), normal(5, 4), train=False)


def test_a_budget_that_would_let_anything_pass_is_no_pass() -> None:
    class Chaos(nn.Linear):
        """The logistic map, which doubles an error at every step."""

        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x).sigmoid()
            for _ in range(40):
                y = 4 * y * (1 - y)
            return y

    with pytest.raises(ParityError, match=r"\Acannot be judged in float32: .* rounding is granted"):
        assert_parity(Chaos(4, 3), TorchModule(Chaos(4, 3)), normal(5, 4))


class Inference:
    """No backward, and so no gradients."""

    backward = None

    def __init__(self, factor: float = 1.0) -> None:
        self.layer, self.factor = Linear(4, 3), np.float32(factor)
        self.parameters, self.buffers = self.layer.parameters, self.layer.buffers

    def forward(self, x):
        return self.layer.forward(x) * self.factor


@pytest.mark.parametrize("train", [True, False])
def test_a_side_without_backward_is_judged_forward_only(train) -> None:
    told = str(assert_parity(nn.Linear(4, 3), Inference(), normal(5, 4), train=train))
    assert "forward only: Inference has no backward" in told
    assert "1 tensors agree" in told
    with pytest.raises(DisagreementError):
        assert_parity(nn.Linear(4, 3), Inference(1.001), normal(5, 4), train=train)


def test_a_layer_without_a_backward_in_evaluation_mode_is_judged_forward() -> None:
    class Training(BatchNorm2d):
        def backward(self, dy, input_gradient=True):
            if not self.training:
                raise NotImplementedError
            return super().backward(dy, input_gradient)

    told = [
        str(assert_parity(nn.BatchNorm2d(2), Training(2), normal(3, 2, 4, 4), train=train))
        for train in (True, False)
    ]
    assert "forward only" not in told[0]
    assert "forward only: Training.backward is not implemented in evaluation mode" in told[1]


def test_inputs_stay_in_the_range_of_the_users() -> None:
    class Pixels(Linear):
        def forward(self, x):
            assert x.min() >= 0, "a pixel below 0"
            assert x.max() <= 1, "a pixel above 1"
            return super().forward(x)

    pixels = np.random.default_rng(0).random((5, 4), np.float32)
    assert_parity(nn.Linear(4, 3), Pixels(4, 3), pixels)


class Single(nn.Linear):
    """A float32 softmax inside."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).float().softmax(-1).type_as(x)


def test_a_module_without_a_float64_reference_is_no_ones_fault() -> None:
    class Double(nn.Linear):
        factor = 1.0

        def forward(self, x):
            return super().forward(x).softmax(-1) * self.factor

    inputs = normal(5, 4).astype(np.float64)
    with pytest.raises(ParityError, match=r"less than double precision inside \(to_copy"):
        assert_parity(Single(4, 3), TorchModule(Double(4, 3).double()), inputs)
    Double.factor = 1.1
    with pytest.raises(DisagreementError):
        assert_parity(Single(4, 3), TorchModule(Double(4, 3).double()), inputs)


def test_variations_are_listed_and_find_what_one_input_hides() -> None:
    class Square(Conv2d):
        """Right on square images."""

        def backward(self, dy, input_gradient=True):
            dx = super().backward(dy, input_gradient)
            return dx if dx.shape[2] == dx.shape[3] else dx[..., ::-1].copy()

    class One(ReLU):
        """The batch axis is lost where it is 1."""

        def forward(self, x):
            y = super().forward(x)
            return y[0] if len(y) == 1 else y

    images = normal(3, 2, 6, 6)
    told = str(assert_parity(nn.Conv2d(2, 3, 3), Conv2d(2, 3, 3), images))
    assert "upstream gradient × 1024; after two calls of forward, the weights changed" in told
    for label in ("one sample with exact zeros", "samples more", "images of another width"):
        assert label in told
    for module, network, label in [
        (nn.Conv2d(2, 3, 3), Square(2, 3, 3), "another width"),
        (nn.ReLU(), One(), "one sample"),
    ]:
        with pytest.raises(DisagreementError, match=label):
            assert_parity(module, network, images)
        assert compare(module, network, images, vary=False).passed


class Biased(BatchNorm2d):
    """The running variance averages the variance divided by n."""

    factor = 1.0

    def _track(self, mean, unbiased_variance):
        n = 3 * 4 * 4
        super()._track(mean, unbiased_variance * np.float32(self.factor * (n - 1) / n))


def test_a_departure_that_is_meant_is_named_and_nothing_else_passes() -> None:
    module, images = nn.Sequential(nn.BatchNorm2d(2)), normal(3, 2, 4, 4)
    expect = {"0.running_var": "biased"}
    told = str(assert_parity(module, Sequential(Biased(2)), images, expect=expect, vary=False))
    assert "meant to depart: 0.running_var is biased" in told
    other = Sequential(Biased(2))
    other.layers["0"].factor = 1.01
    for network in (other, Sequential(BatchNorm2d(2))):
        with pytest.raises(DisagreementError, match="running_var"):
            assert_parity(module, network, images, expect=expect, vary=False)
    for wrong in ({"0.running_var": "doubled"}, {"0.running_mean": "biased"}):
        with pytest.raises(ParityError, match="expect: "):
            assert_parity(module, Sequential(Biased(2)), images, expect=wrong)
