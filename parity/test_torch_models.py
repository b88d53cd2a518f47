"""What torch lacks and `torch_models` adds, each against its definition."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from torch_models import Adagrad, Adam, Dropout, MaxPool2d

MODES = ["torch", "uncorrected", "inside_root"]


def trained(make, steps: int = 5) -> tuple[list[torch.Tensor], torch.optim.Optimizer]:
    """Return the parameters after some steps on fixed random gradients, and the optimizer."""
    generator = torch.Generator().manual_seed(3)
    parameters = [nn.Parameter(torch.randn(s, generator=generator)) for s in [(4, 3), (4,)]]
    optimizer = make(parameters)
    for _ in range(steps):
        for p in parameters:
            p.grad = torch.randn(p.shape, generator=generator)
        optimizer.step()
    return [p.detach() for p in parameters], optimizer


def test_adam_in_torch_mode_is_torchs() -> None:
    ours, _ = trained(lambda p: Adam(p, lr=0.1, weight_decay=0.1))
    theirs, _ = trained(lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    ("mode", "second_update"),
    [
        # Gradients 1 and 3 with β₁ = 0.5, β₂ = 0.75, ε = 1: m = 1.75, m̂ = 7/3, v = 2.4375.
        ("torch", (7 / 3) / ((2.4375 / 0.4375) ** 0.5 + 1)),
        ("uncorrected", (0.4375**0.5 / 0.75) * 1.75 / (2.4375**0.5 + 1)),
        ("inside_root", (7 / 3) / (2.4375 / 0.4375 + 1) ** 0.5),
    ],
)
@pytest.mark.parametrize("capturable", [False, True])
def test_where_adam_puts_epsilon(mode, second_update, capturable) -> None:
    capturable = capturable and mode != "torch"  # torch's own needs an accelerator
    p = nn.Parameter(torch.tensor([5.0], dtype=torch.float64))
    optimizer = Adam([p], lr=1.0, betas=(0.5, 0.75), eps=1.0, eps_mode=mode, capturable=capturable)
    p.grad = torch.tensor([1.0], dtype=torch.float64)
    optimizer.step()
    before = p.item()
    p.grad = torch.tensor([3.0], dtype=torch.float64)
    optimizer.step()
    assert before - p.item() == pytest.approx(second_update, rel=1e-12 if not capturable else 1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_adam_resumes_from_its_state(mode) -> None:
    parameters, optimizer = trained(lambda p: Adam(p, lr=0.1, eps_mode=mode))
    resumed = [nn.Parameter(p.clone()) for p in parameters]
    other = Adam(resumed, lr=0.5, eps_mode=mode)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    owners = optimizer.param_groups[0]["params"]
    for p, q in zip(owners, resumed, strict=True):
        p.grad, q.grad = torch.ones_like(p), torch.ones_like(q)
    optimizer.step()
    other.step()
    assert all(torch.equal(p, q) for p, q in zip(owners, resumed, strict=True))


ADAGRAD: dict[str, Any] = {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5}


@pytest.mark.parametrize("options", [{}, ADAGRAD], ids=["plain", "all"])
def test_adagrad_is_torchs(options) -> None:
    theirs, _ = trained(lambda p: torch.optim.Adagrad(p, lr=0.1, **options))
    for lr in (0.1, torch.tensor(0.1)):
        ours, _ = trained(lambda p, lr=lr: Adagrad(p, lr=lr, **options))
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_adagrad_goes_on_from_torchs_state() -> None:
    theirs, old = trained(lambda p: torch.optim.Adagrad(p, **ADAGRAD))
    parameters = [nn.Parameter(p.clone()) for p in theirs]
    new = Adagrad(parameters, **ADAGRAD)
    new.load_state_dict(copy.deepcopy(old.state_dict()))
    owners = old.param_groups[0]["params"]
    for p in (*owners, *parameters):
        p.grad = torch.ones_like(p)
    old.step()
    new.step()
    for p, q in zip(owners, parameters, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-7)


def test_all_ties_get_the_gradient_or_only_the_first() -> None:
    x = torch.tensor([[[[1.0, 1.0, 0.0, 2.0], [0.0, 1.0, 2.0, 2.0]]]], requires_grad=True)
    for ties, expected in [
        ("all", [[5.0, 5.0, 0.0, 7.0], [0.0, 5.0, 7.0, 7.0]]),
        ("first", [[5.0, 0.0, 0.0, 7.0], [0.0, 0.0, 0.0, 0.0]]),
    ]:
        y = MaxPool2d(2, ties=ties)(x)  # type: ignore[arg-type]
        (gradient,) = torch.autograd.grad(y, x, torch.tensor([[[[5.0, 7.0]]]]))
        assert gradient[0, 0].tolist() == expected


@pytest.mark.parametrize(
    ("kind", "training", "evaluation"),
    [("original", [0.0, 0.0, 8.0], [3.0, 3.0, 6.0]), ("inverted", [0.0, 0.0, 32.0], [4, 4, 8])],
)
def test_dropout_keeps_where_the_draw_exceeds_p(kind, training, evaluation) -> None:
    layer = Dropout(0.25 if kind == "original" else 0.75, kind=kind)
    layer.draw = lambda shape: torch.tensor([layer.p, 0.1, 0.9])
    x = torch.tensor([4.0, 4.0, 8.0])
    assert layer(x).tolist() == training
    assert layer.eval()(x).tolist() == evaluation


def test_dropout_draws_by_itself_at_the_stated_rate() -> None:
    kept = Dropout(0.3)(torch.ones(100_000)) != 0
    assert kept.float().mean().item() == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dropout(1.5), "0 <= p <= 1"),
        (lambda: Dropout(0.5, kind="other"), "inverted"),  # type: ignore[arg-type]
        (lambda: MaxPool2d(2, ties="last"), "first"),  # type: ignore[arg-type]
        (lambda: Adam([nn.Parameter(torch.ones(1))], eps_mode="x"), "inside_root"),  # type: ignore[arg-type]
        (
            lambda: Adam([nn.Parameter(torch.ones(1))], eps_mode="uncorrected", fused=True),
            "fused",
        ),
    ],
)
def test_wrong_arguments_are_named(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()
