"""What a new layer holds and says of itself, and what optimizers and schedules keep."""

from __future__ import annotations

import numpy as np
import pytest

import numpy_models
from numpy_models import (
    SGD,
    Adagrad,
    Adam,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
    StepLR,
)


@pytest.mark.parametrize(
    ("make", "fan_in"),
    [(lambda: Conv2d(20, 30, (3, 2)), 120), (lambda: Linear(50, 70), 50)],
    ids=["Conv2d", "Linear"],
)
def test_parameters_are_drawn_as_torch_draws_them(make, fan_in) -> None:
    """Uniformly within ±1/√fan_in, the bias as well, and anew by each seed."""
    layer, bound = make(), fan_in**-0.5
    drawn = []
    for seed in (3, 3, 4):
        layer.reset_parameters(seed)
        drawn.append(layer.flat_parameters.copy())
    assert np.array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).mean() > 0.9
    assert layer.flat_parameters.dtype == np.float32
    for array in (*layer.parameters().values(), make().flat_parameters):
        assert np.abs(array).max() <= bound
        assert np.abs(array).max() > 0.9 * bound
        assert abs(array.mean()) < 4 * bound / np.sqrt(3 * array.size)


def test_layers_that_are_alike_are_drawn_apart() -> None:
    net = Sequential(Linear(5, 5), Sequential(Linear(5, 5), BatchNorm2d(2)), Linear(5, 5))
    net.reset_parameters(0)
    first, *others = (net.parameters()[f"{name}.weight"] for name in ("0", "1.0", "2"))
    assert not any(np.array_equal(first, other) for other in others)
    assert not np.array_equal(*others)


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"track_running_stats": False}])
def test_batch_normalisation_forgets_all_it_has_learned(options) -> None:
    layer, fresh = BatchNorm2d(2, **options), BatchNorm2d(2, **options)
    layer.flat_parameters[...] = 7
    layer(np.random.default_rng(0).standard_normal((3, 2, 4, 4), np.float32))
    layer.reset_parameters(0)
    for name, array in fresh.state_dict().items():
        np.testing.assert_array_equal(layer.state_dict()[name], array, err_msg=name)
    assert fresh.state_dict().keys() == {
        *(("weight", "bias") if options.get("affine", True) else ()),
        *(
            ("running_mean", "running_var", "num_batches_tracked")
            if options.get("track_running_stats", True)
            else ()
        ),
    }


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Conv2d(1, 2, 3), "Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1), padding=(0, 0))"),
        (
            Conv2d(1, 2, (3, 4), (2, 1), (1, 0)),
            "Conv2d(1, 2, kernel_size=(3, 4), stride=(2, 1), padding=(1, 0))",
        ),
        (Linear(3, 4), "Linear(3, 4)"),
        (MaxPool2d(2), "MaxPool2d(kernel_size=(2, 2), stride=(2, 2), padding=(0, 0))"),
        (AvgPool2d(3, 2, 1), "AvgPool2d(kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))"),
        (BatchNorm2d(5), "BatchNorm2d(5, eps=1e-05, momentum=0.1)"),
        (Dropout(0.3, "original"), 'Dropout(p=0.3, kind="original")'),
        (ReLU(), "ReLU()"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_layer_says_what_it_is(layer, words) -> None:
    assert repr(layer) == words
    if not layer.parameters():
        assert repr(Sequential(layer, inner=Sequential(Flatten()))) == (
            f"Sequential(\n  (0): {words}\n  (inner): Sequential(\n    (0): Flatten()\n  )\n)"
        )


def net_of_two() -> Sequential:
    net = Sequential(Linear(3, 2), Linear(2, 1))
    net.reset_parameters(0)
    return net


KINDS = {
    "SGD": (lambda net: SGD(net, 0.1, momentum=0.9), {"momentum_buffer"}),
    "plain SGD": (lambda net: SGD(net, 0.1), set()),
    "Adam": (Adam, {"exp_avg", "exp_avg_sq"}),
    "Adagrad": (lambda net: Adagrad(net, initial_accumulator_value=0.5), {"sum"}),
}


@pytest.mark.parametrize(("make", "kinds"), KINDS.values(), ids=KINDS)
def test_an_optimizers_state_is_a_copy_by_name(make, kinds) -> None:
    net = net_of_two()
    optimizer = make(net)
    for step in range(3):
        net.flat_gradients[...] = np.arange(net.flat_gradients.size) - step
        optimizer.step()
    state = optimizer.state_dict()
    names = {f"{kind}.{name}" for kind in kinds for name in net.parameters()}
    assert state.keys() == {"step", "lr", *names}
    assert (state["step"], state["lr"]) == (3, optimizer.lr)
    for name, parameter in net.parameters().items():
        for kind in kinds:
            assert state[f"{kind}.{name}"].shape == parameter.shape
    kept = {name: np.copy(value) for name, value in state.items()}
    optimizer.step()
    for name, value in kept.items():
        np.testing.assert_array_equal(state[name], value, err_msg=name)
    wrong = {**state, **{name: state[name][:1] for name in sorted(names)[:1]}}
    for refused in ({**state, "more": 1}, {"step": 1}, *([wrong] if names else [])):
        before = {name: np.copy(value) for name, value in optimizer.state_dict().items()}
        with pytest.raises(ValueError, match=r"missing|expected shape"):
            optimizer.load_state_dict(refused)
        for name, value in optimizer.state_dict().items():
            np.testing.assert_array_equal(before[name], value, err_msg=name)


def test_an_optimizer_belongs_to_a_networks_precision() -> None:
    net = net_of_two()
    optimizer = Adam(net)
    net.to(np.float64)
    with pytest.raises(ValueError, match=r"became float64 .* made for float32"):
        optimizer.step()
    assert optimizer.steps == 0
    Adam(net).step()


@pytest.mark.parametrize("step_size", [0, -1, 1.5, True, "2"])
def test_a_step_size_is_a_number_of_epochs(step_size) -> None:
    with pytest.raises(ValueError, match="step_size must be a whole number of epochs >= 1"):
        StepLR(SGD(Linear(1, 1), 0.1), step_size)


def test_a_schedule_goes_on_in_its_phase() -> None:
    rates = []
    optimizer = SGD(Linear(1, 1), 1.0)
    schedule = StepLR(optimizer, 3)
    for _ in range(7):
        rates.append(optimizer.lr)
        schedule.step()
        other = StepLR(optimizer, 3)
        assert schedule.state_dict() == {"last_epoch": len(rates)}
        other.load_state_dict(schedule.state_dict())
        schedule = other
    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01])


def test_networks_are_those_that_have_files() -> None:
    names = numpy_models.registry.names()
    assert {"deepcnn21", "lenet5_relu", "linear_baseline"} <= set(names)
    assert not {"sequential", "residual", "conv", "registry"} & set(names)
    assert names == sorted(names)
    for name in ("lenet5-relu", "../lenet5_relu", ""):
        with pytest.raises(ValueError, match=f"no network named .*choose {', '.join(names)}"):
            numpy_models.build(name)
