"""How long sums are, and how far the operands of a probe move."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from parity import perturbation
from parity.perturbation import Probe, nudge, nudge_gradient, nudge_logits, observed, perturbed

DOUBLE = torch.float64


class Sum(nn.Module):
    """The sum of a sample."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum((1, 2, 3))


@pytest.mark.parametrize(
    ("layer", "shape", "forward", "backward"),
    [
        (nn.Conv2d(3, 4, (3, 2)), (5, 3, 5, 5), 18, 60),  # fan-in; batch times positions
        (nn.Conv2d(3, 40, 3), (1, 3, 4, 4), 27, 360),  # fan-out
        (nn.Linear(7, 3), (5, 7), 7, 5),
        (nn.Linear(3, 70), (2, 3), 3, 70),
        (nn.BatchNorm2d(3), (4, 3, 5, 2), 40, 40),  # a channel's elements
        (nn.BatchNorm2d(3, affine=False), (4, 3, 5, 2), 40, 40),
        (nn.AvgPool2d(2), (1, 2, 4, 4), 4, 4),
        (nn.MaxPool2d((2, 3)), (1, 2, 4, 6), 0, 6),  # which selects, and rounds nothing
        (nn.ReLU(), (3, 4), 0, 1),
        (nn.Tanh(), (3, 4), 1, 1),
        (Sum(), (2, 3, 4, 5), 60, 60),
        (nn.LSTM(3, 5), (7, 2, 3), 7, 20),  # steps; four gates of five
        (nn.Tanh(), (0, 4), 1, 1),
    ],
    ids=lambda value: str(value) if isinstance(value, tuple) else type(value).__name__,
)
def test_the_longest_sum_of_a_layer(layer, shape, forward, backward) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    layer = layer.double()
    with observed(layer) as seen:
        layer(x)
    assert seen == {"": (forward, backward)}


def test_a_layer_that_is_called_again_has_the_longest_of_its_sums() -> None:
    layer = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1)).double()
    with observed(layer) as seen:
        for size in (4, 9, 5):
            layer(torch.ones(1, 1, size, size, dtype=DOUBLE))
    assert seen == {"0": (9, 81)}
    layer(torch.ones(2, 1, 50, 50, dtype=DOUBLE))
    assert seen == {"0": (9, 81)}  # no longer watched


def test_operands_move_by_their_share_up_or_down() -> None:
    x = torch.tensor([1.0, -2.0, 3.0, 1.0, torch.inf, torch.nan, 0.0], dtype=DOUBLE)
    for probe in range(3):
        moved = nudge(x, 1e-3, probe)
        change = (moved - x)[:4].abs() / x[:4].abs()
        torch.testing.assert_close(change, torch.full((4,), 1e-3, dtype=DOUBLE), rtol=1e-9, atol=0)
        assert moved[4] == torch.inf
        assert moved[5].isnan()
        assert moved[6] == 0
    many = torch.arange(1.0, 1001.0, dtype=DOUBLE)
    ups = [nudge(many, 1e-3, probe) > many for probe in range(4)]
    for number, up in enumerate(ups):
        assert 400 < up.sum() < 600
        for other in ups[:number]:  # as independent as coins
            assert 400 < (up == other).sum() < 600
    for kept in (torch.tensor([1, 2]), "text", None):
        assert nudge(kept, 1e-3, 0) is kept


def test_equal_numbers_of_one_sample_move_alike_and_of_others_do_not() -> None:
    batch = torch.full((64, 5), 0.7, dtype=DOUBLE)
    signs = perturbation.signs(batch, 1)
    assert (signs == signs[:, :1]).all()
    assert 15 < (signs[:, 0] > 0).sum() < 49
    many = perturbation.signs(torch.randn(1, 40_000, dtype=DOUBLE), 1)
    assert set(many.flat) == {-1.0, 1.0}
    assert abs(many.mean()) < 0.02


def test_gradients_move_by_their_share_and_that_of_what_cancels_in_them() -> None:
    generator = torch.Generator().manual_seed(0)
    upstream = torch.randn(50, generator=generator, dtype=DOUBLE)
    for terms in (0.0, 0.5):
        x = torch.ones(50, dtype=DOUBLE, requires_grad=True)
        nudge_gradient(x * 1, 1e-3, 0, terms).backward(upstream)
        assert x.grad is not None
        change = (x.grad - upstream).abs()
        ends = [abs(1e-3 * (upstream.abs() + sign * terms)) for sign in (1, -1)]
        near = [(change - end).abs() < 1e-12 for end in ends]
        assert (near[0] | near[1]).all()
        assert change.max() > 1e-3 * (terms + upstream.abs().min())


@pytest.mark.parametrize(
    ("targets", "least"), [(torch.zeros(4, dtype=torch.long), 0.25), (torch.zeros(4, 9), 0.0)]
)
def test_a_loss_is_a_layer_whose_sums_are_over_classes(targets, least) -> None:
    """Its gradient is a difference of terms of 1/N where targets are classes."""
    logits = torch.linspace(1, 2, 36, dtype=DOUBLE).reshape(4, 9).requires_grad_()
    moved = nudge_logits(logits, targets, Probe({}, 1e-6, 0))
    shares = ((moved - logits) / logits).abs()
    torch.testing.assert_close(shares, torch.full_like(shares, 3e-6), rtol=1e-6, atol=0)
    arriving = torch.full((4, 9), 1e-30, dtype=DOUBLE)
    moved.backward(arriving)
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) == pytest.approx(3e-6 * least + 1e-30, rel=1e-3)


def test_a_perturbed_module_moves_what_goes_in_its_weights_and_what_comes_back() -> None:
    """By √n of each sum's n; without its parameters, if asked, and with nothing left behind."""
    x = torch.full((2, 9), 2.0, dtype=DOUBLE, requires_grad=True)
    for parameters in (True, False):
        module = nn.Sequential(nn.Linear(9, 16, bias=False)).double()
        with torch.no_grad():
            module.get_parameter("0.weight").fill_(1.0)
        with observed(module) as dimensions:
            module(x)
        assert dimensions == {"0": (9, 16)}
        with perturbed(module, Probe(dimensions, 1e-4, 0), parameters):
            y = module(x)
        weight = module.get_parameter("0.weight").detach()
        assert bool((weight != 1).all()) is parameters
        assert float((weight - 1).abs().max()) == pytest.approx(3e-4 * parameters)
        if not parameters:
            assert float((y.detach() - 18).abs().max()) == pytest.approx(18 * 3e-4)
            (dx,) = torch.autograd.grad(y, x, torch.ones_like(y))
            assert float((dx - 16).abs().max()) == pytest.approx(16 * 4e-4)
            assert torch.equal(module(x), torch.full((2, 16), 18.0, dtype=DOUBLE))
