"""Adam and Adagrad as optimizers: groups, frozen parameters, closures, and what is resumed."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from torch_models import Adagrad, Adam, Dropout, MaxPool2d

MAKERS = {
    "torch": Adam,
    **{
        f"{mode}{' capturable' * capturable}": (
            lambda p, m=mode, c=capturable, **o: Adam(p, eps_mode=m, capturable=c, **o)
        )
        for mode in ("uncorrected", "inside_root")
        for capturable in (False, True)
    },
    "adagrad": Adagrad,
}
OPTIONS = {"lr": 0.1, "eps": 0.01, "weight_decay": 0.1}


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = (4, 3), (4,), (2, 2), (5,)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def give_gradients(given: list[nn.Parameter], step: int) -> None:
    for number, parameter in enumerate(given):
        parameter.grad = torch.cos(torch.arange(parameter.numel()) + number + step).view_as(
            parameter
        )


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_each_group_is_trained_by_its_own_settings(make) -> None:
    """Two groups are what two optimizers are, whatever order parameters have in them."""
    together, apart = parameters(), parameters()
    rates = OPTIONS, {"lr": 0.02, "eps": 0.5, "weight_decay": 0.0}
    groups = [{"params": together[:1], **rates[0]}, {"params": together[1:], **rates[1]}]
    ours = make(groups)
    theirs = make(apart[:1], **rates[0]), make(apart[1:], **rates[1])
    for step in range(3):
        for given in (together, apart):
            give_gradients(given, step)
        ours.step()
        for optimizer in theirs:
            optimizer.step()
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_what_has_no_gradient_stays_and_counts_no_step(make) -> None:
    """A frozen parameter that is trained from the third step on begins its own count there."""
    frozen, late = parameters(), parameters()
    whole = make(frozen, **OPTIONS)
    first, second = make(late[:2], **OPTIONS), make(late[2:], **OPTIONS)
    for step in range(4):
        for given in (frozen, late):
            give_gradients(given, step)
        if step < 2:
            for parameter in frozen[2:]:
                parameter.grad = None
        whole.step()
        first.step()
        if step >= 2:
            second.step()
        else:
            assert all(map(torch.equal, frozen[2:], parameters()[2:]))
    for one, other in zip(frozen, late, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    for parameter in frozen:
        parameter.grad = None
    before = [parameter.clone() for parameter in frozen]
    assert whole.step() is None
    assert all(map(torch.equal, before, frozen))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_closure_computes_the_loss_and_its_gradients(make) -> None:
    plain, closed = parameters(), parameters()
    ours, theirs = make(closed, **OPTIONS), make(plain, **OPTIONS)

    def loss(given: list[nn.Parameter]) -> torch.Tensor:
        total = sum((parameter**2).sum() for parameter in given)
        assert isinstance(total, torch.Tensor)
        return total

    def closure() -> torch.Tensor:
        ours.zero_grad()
        value = loss(closed)
        value.backward()
        return value

    for _ in range(2):
        expected = loss(plain)
        theirs.zero_grad()
        expected.backward()
        assert theirs.step() is None
        returned = ours.step(closure)
        assert torch.equal(returned, expected)
    for one, other in zip(plain, closed, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("mode", ["uncorrected", "inside_root"])
@pytest.mark.parametrize("steps", [1, 3])
def test_weight_decay_is_added_to_the_gradient(mode, steps) -> None:
    """As torch's own, whose rule both become where ε is negligible."""
    ours, theirs = parameters(), parameters()
    options = {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-30, "weight_decay": 0.3}
    pair = Adam(ours, eps_mode=mode, **options), torch.optim.Adam(theirs, **options)
    for step in range(steps):
        for given, optimizer in zip((ours, theirs), pair, strict=True):
            give_gradients(given, step)
            optimizer.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_states_are_laid_out_as_torchs() -> None:
    """With the same names and types, so that either may be loaded into the other."""
    for mode in ("uncorrected", "inside_root"):
        ours, theirs = (
            make(parameters()) for make in (lambda p, m=mode: Adam(p, eps_mode=m), torch.optim.Adam)
        )
        for optimizer in (ours, theirs):
            give_gradients(optimizer.param_groups[0]["params"], 0)
            optimizer.step()
        for one, other in zip(ours.state.values(), theirs.state.values(), strict=True):
            assert {k: (v.shape, v.dtype) for k, v in one.items()} == {
                k: (v.shape, v.dtype) for k, v in other.items()
            }
            assert one["step"] == other["step"] == 1


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Dropout(0.3, "original"), "Dropout(p=0.3, kind='original')"),
        (MaxPool2d(2, ties="all"), "ceil_mode=False, ties='all')"),
    ],
)
def test_a_module_says_what_it_is(module, words) -> None:
    assert repr(module).endswith(words)


def test_dropout_of_everything_and_of_nothing() -> None:
    x = torch.ones(50)
    for kind in ("original", "inverted"):
        assert torch.equal(Dropout(0.0, kind=kind)(x), x)
        assert torch.equal(Dropout(1.0, kind=kind)(x), 0 * x)


def test_a_mask_of_another_shape_is_refused() -> None:
    layer = Dropout(0.5)
    layer.draw = lambda shape: torch.ones(7)
    with pytest.raises(ValueError, match=r"returned shape \(7,\) for \(2, 3\)"):
        layer(torch.ones(2, 3))


def test_masks_are_drawn_where_the_activation_is() -> None:
    """Shown on torch's device without data, where no number could be brought to."""
    layer = Dropout(0.5)
    assert layer(torch.ones(2, 3, device="meta")).device.type == "meta"
    layer.draw = lambda shape: torch.ones(shape)
    assert layer(torch.ones(2, 3, device="meta")).device.type == "meta"


@pytest.mark.parametrize("capturable", [True, False])
@pytest.mark.parametrize("mode", ["uncorrected", "inside_root"])
def test_what_a_graph_holds_lives_on_the_parameters_device(mode, capturable) -> None:
    parameter = nn.Parameter(torch.ones(2, device="meta"))
    optimizer = Adam([parameter], eps_mode=mode, capturable=capturable)
    parameter.grad = torch.ones(2, device="meta")
    with contextlib.suppress(NotImplementedError):  # a number cannot be brought from there
        optimizer.step()
    state = optimizer.state[parameter]
    assert state["step"].device.type == ("meta" if capturable else "cpu")
    assert {state[kind].device.type for kind in ("exp_avg", "exp_avg_sq")} == {"meta"}


@pytest.mark.parametrize("capturable", [False, True])
def test_steps_are_counted_where_a_graph_can_add_to_the_count(capturable) -> None:
    """On the parameter's device if capturable; else on the host, whatever the default device."""
    parameter = nn.Parameter(torch.zeros(3, device="meta"))
    parameter.grad = torch.zeros_like(parameter)
    optimizer = Adam([parameter], eps_mode="uncorrected", capturable=capturable)
    with torch.device("cpu" if capturable else "meta"):
        optimizer.step()
    device = optimizer.state[parameter]["step"].device.type
    assert device == ("meta" if capturable else "cpu")
