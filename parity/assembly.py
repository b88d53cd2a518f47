"""Where every layer is right alone and the network is wrong: what was put together wrongly."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from torch import nn

from parity import shared_masks
from parity.comparison import Comparison
from parity.localisation import members_of
from parity.perturbation import layers_of
from parity.protocol import Network, ParityError, set_mode
from parity.runs import (
    Setting,
    Task,
    Tensors,
    run_forward,
    run_numpy,
    shuffled,
    torch_dtype,
    with_upstream,
)
from parity.transfer import to_numpy

Finding = tuple[str, str]


def explain(setting: Setting, comparison: Comparison) -> Finding | None:
    """Return the name of what is wrong in the assembly and a sentence on it, None if unknown."""
    module, train = setting.module, setting.task.train
    network, layers = copy.deepcopy((setting.network, setting.layers))
    members = members_of(module, network, layers)
    plain = Task(setting.task.inputs, train=train, seed=setting.task.seed)  # without the loss
    task = with_upstream(module, plain)
    to_numpy(module, network)
    return (
        _misplaced(network, members, task)
        or _mode(network, train)
        or _calls(module, network, members, task)
        or _single(comparison)
        or _carried_over(module, network, task)
    )


def _misplaced(network: Network, members: Mapping[str, Any], task: Task) -> Finding | None:
    """Find an array that the network shows under another name or layout than its layer."""
    with suppress(ParityError):
        run_numpy(network, task)
    for layer, member in members.items():
        for kind in ("parameters", "buffers", "gradients"):
            own = getattr(member, kind, {})
            for name, array in (own() if callable(own) else own).items():
                shown = getattr(network, kind)().get(f"{layer}.{name}")
                if shown is not None and not np.array_equal(shown, array, equal_nan=True):
                    place = f"{layer}.{name}"
                    return place, (
                        f"{place}, under which the network's {kind}() shows other numbers than "
                        f"the layer {layer} holds"
                    )
    return None


def _mode(network: Any, train: bool) -> Finding | None:
    set_mode(network, train)
    if getattr(network, "training", train) == train:
        return None
    method, now = ("train", "evaluation") if train else ("eval", "training")
    return method, f"{method}, after which the NumPy network is still in {now} mode"


def _calls(
    module: nn.Module, network: Any, members: Mapping[str, Any], task: Task
) -> Finding | None:
    """Find a layer that is not called, or out of turn, going forward or back."""
    expected = [name for name in _torch_order(module, task) if name in members]
    called: dict[str, list[str]] = {"forward": [], "backward": []}
    for name in expected:
        for direction, names in called.items():
            _record(members[name], direction, name, names)
    try:
        run_numpy(network, task)
    except ParityError:
        return None
    for direction, names in called.items():
        wanted = expected if direction == "forward" else expected[::-1]
        if not names:
            return None  # the network keeps other objects than the layers it shows
        for position, name in enumerate(wanted):
            if names[position : position + 1] == [name]:
                continue
            if name not in names:
                return name, f"{name}, whose {direction} the NumPy network never calls"
            other = names[position]
            return name, f"{name}, in whose place the NumPy network's {direction} calls {other}"
    return None


def _torch_order(module: nn.Module, task: Task) -> list[str]:
    module, order = copy.deepcopy(module), list[str]()
    for name, layer in layers_of(module).items():
        layer.register_forward_hook(lambda *_, name=name: order.append(name))
    with shared_masks.on_torch(module, task.seed):
        run_forward(module, task, torch_dtype(task.inputs))
    return order


def _record(layer: Any, method: str, name: str, names: list[str]) -> None:
    if hasattr(layer, f"{method}_batch_last"):  # by which numpy_models' layers call each other
        method = f"{method}_batch_last"
    original = getattr(layer, method)

    def recording(*arguments: Any, **options: Any) -> Any:
        names.append(name)
        return original(*arguments, **options)

    setattr(layer, method, recording)


def _carried_over(module: nn.Module, network: Network, task: Task) -> Finding | None:
    """Find that one call's result depends on the call before it."""
    results: list[Tensors] = []
    for before in (shuffled(task), task):
        try:
            other = run_numpy(network, before)
            to_numpy(module, network)
            results.append(run_numpy(network, task))
        except ParityError:
            return None
        if before is not task and np.array_equal(other["", "output"], results[0]["", "output"]):
            return "calls", "calls, which give the same output whatever the inputs"
    for place, value in results[0].items():
        if not np.array_equal(value, results[1][place], equal_nan=True):
            tensor = " of ".join(filter(None, [place[1], place[0]]))
            return "calls", f"calls, of which one changes the next one's {tensor}"
    return None


def _single(comparison: Comparison) -> Finding | None:
    """Where all that is wrong is in one place, name the place."""
    first = comparison.failures[0]
    if len({check.layer for check in comparison.failures}) > 1:
        return None
    place = first.layer or first.tensor
    if place == "gradient of input":
        return place, f"{place} alone: {first}"
    return place, f"{place}, the only place that is wrong: {first}"
