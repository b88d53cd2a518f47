"""Where every layer is right alone and the network is wrong: what was put together wrongly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

from parity.comparison import Comparison, hold
from parity.localisation import Passage, copied, members_of, probes, traffic
from parity.numpy_runs import ARRAY, fresh, other, run_numpy
from parity.protocol import Network, ParityError, arrays_of, set_mode
from parity.runs import run_forward, with_upstream
from parity.task import Setting, Task
from parity.tolerance import Tensors
from parity.transfer import to_numpy
from parity.trees import named

Finding = tuple[str, str]
_KINDS = {
    "parameters": "",
    "buffers": "",
    "gradients": "gradient of ",
}  # and what a name begins with


def explain(setting: Setting, comparison: Comparison) -> Finding | None:
    """Return the name of what is wrong in the assembly and a sentence on it, None if unknown."""
    module, train = setting.module, setting.task.train

    def fresh() -> tuple[Any, Mapping[str, Any]]:
        network, layers = copied((setting.network, setting.layers))
        to_numpy(module, network)
        try:
            return network, members_of(module, network, layers)
        except ParityError:
            return network, {}

    task = setting.task
    if task.torch_criterion is not None:  # which is right alone
        task = replace(task, torch_criterion=None, numpy_criterion=None, expect={})
        task = with_upstream(module, task)
    searches: list[Callable[[], Finding | None]] = [
        lambda: _inside(setting),
        lambda: _intruder(*fresh(), task),
        lambda: _misplaced(*fresh(), task),
        lambda: _mode(fresh()[0], train),
        lambda: _block(setting),
        lambda: _calls(module, *fresh(), task),
        lambda: _single(comparison),
        lambda: _carried_over(module, fresh()[0], task),
    ]
    for search in searches:
        with suppress(ParityError):  # where torch's side cannot be watched
            if found := search():
                return found
    return None


class _Shown(nn.Module):
    """A module that returns what its layers return, by their names."""

    def __init__(self, module: nn.Module, names: Iterable[str]) -> None:
        super().__init__()
        self.module, self.names = module, names

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        given = dict[str, Any]()
        with ExitStack() as stack:
            for name in self.names:
                layer = self.module.get_submodule(name)
                hook = layer.register_forward_hook(lambda _, x, y, n=name: given.update({n: y}))
                stack.callback(hook.remove)
            self.module(*args, **kwargs)
        return given


def _inside(setting: Setting) -> Finding | None:
    """Find the first layer whose output is wrong inside of a model that can show it."""
    if not hasattr(setting.network, "opened"):
        return None
    network = setting.network.opened([name for name, _ in setting.module.named_modules() if name])
    if not network.shown:
        return None
    shown = _Shown(setting.module, network.shown)
    for check in hold(replace(setting, module=shown, network=network)).failures:
        if not check.note:
            layer = check.tensor.removeprefix("output").strip("[]") or next(iter(network.shown))
            return layer, f"{layer}, whose output is the first to be wrong: {check}"
    return None


def _intruder(network: Network, members: Mapping[str, Any], task: Task) -> Finding | None:
    """Find a layer whose call changes another layer's arrays, or what another has returned."""
    found: list[Finding] = []
    returned: dict[str, Any] = {}

    def seen() -> dict[tuple[str, str], np.ndarray]:
        arrays = {
            (layer, prefix + name): array
            for layer, member in members.items()
            for kind, prefix in _KINDS.items()
            for name, array in _held(member, kind).items()
        }
        for layer, tree in returned.items():
            arrays |= {(layer, f"output{n}"): x for n, x in named(tree, np.ndarray).items()}
        return arrays

    def watch(name: str, method: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def watching(*args: Any, **kwargs: Any) -> Any:
            before = {place: array.copy() for place, array in seen().items() if place[0] != name}
            result = original(*args, **kwargs)
            for place, array in seen().items():
                kept = before.get(place)
                if kept is None or kept.shape != array.shape or found:
                    continue
                if not np.array_equal(kept, array, equal_nan=True):
                    told = f"{name}, whose {method} changes {place[0]}'s {place[1]}"
                    found.append((name, told))
            if method == "forward":
                returned[name] = result
            return result

        return watching

    for name, member in members.items():
        for method in ("forward", "backward"):
            _wrap(member, method, partial(watch, name, method))
    with suppress(ParityError):
        run_numpy(network, fresh(task))
    return found[0] if found else None


def _held(member: Any, kind: str) -> dict[str, np.ndarray]:
    """Return a layer's arrays of a kind, nothing where it cannot say."""
    own = getattr(member, kind, {})
    try:
        return dict((own() if callable(own) else own) or {})
    except Exception:
        return {}


def _misplaced(network: Network, members: Mapping[str, Any], task: Task) -> Finding | None:
    """Find an array that the network shows under another name or layout than its layer."""
    with suppress(ParityError):
        run_numpy(network, fresh(task))
    for kind in _KINDS:
        try:
            whole = arrays_of(network, kind)
        except ParityError:
            continue
        for layer, member in members.items():
            for name, array in _held(member, kind).items():
                place = f"{layer}.{name}"
                if place in whole and not np.array_equal(whole[place], array, equal_nan=True):
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


def _block(setting: Setting) -> Finding | None:
    """Find a module made of layers that is wrong by itself, the innermost and first."""
    wrong = [probe for probe in probes(setting, blocks=True) if probe.comparison.wrong]
    for probe in wrong:
        if not any(other.layer.startswith(f"{probe.layer}.") for other in wrong):
            return probe.layer, str(probe)
    return None


def _calls(
    module: nn.Module, network: Any, members: Mapping[str, Any], task: Task
) -> Finding | None:
    """Find a layer that is not called, or out of turn, going forward or back."""
    passages = [passage for passage in traffic(module, task)[0] if passage.layer in members]
    called: dict[str, list[tuple[str, Any]]] = {"forward": [], "backward": []}

    def record(name: str, calls: list[tuple[str, Any]], original: Any) -> Callable[..., Any]:
        def recording(*args: Any, **kwargs: Any) -> Any:
            calls.append((name, copied(args[0] if args else None)))
            return original(*args, **kwargs)

        return recording

    for name, member in members.items():
        for direction, calls in called.items():
            _wrap(member, direction, partial(record, name, calls))
    try:
        run_numpy(network, fresh(task))
    except ParityError:
        return None
    for direction, calls in called.items():
        wanted = passages if direction == "forward" else passages[::-1]
        if not calls:
            return None  # the network keeps other objects than the layers it shows
        names = [name for name, _ in calls]
        for position, passage in enumerate(wanted):
            name = passage.layer
            if names[position : position + 1] == [name]:
                continue
            if name in names:
                if _given_alike(passage, calls[names.index(name)][1], direction):
                    continue  # branches may be taken in any order
                instead = names[position] if position < len(names) else "nothing"
                told = f"{name}, in whose place the NumPy network's {direction} calls {instead}"
                return name, told
            following = list(zip(wanted[position + 1 :], calls[position:], strict=False))[:1]
            if any(p.layer == n and _given_alike(p, x, direction) for p, (n, x) in following):
                return None  # the network's own code does what is missing, and rightly
            return name, f"{name}, whose {direction} the NumPy network never calls"
    return None


def _given_alike(passage: Passage, argument: Any, direction: str) -> bool:
    """Return whether a layer is called with what torch gives it."""
    given = named(passage.call if direction == "forward" else passage.upstream, np.ndarray)
    ours = named(argument, ARRAY)
    theirs, mine = next(iter(given.values()), None), next(iter(ours.values()), None)
    if theirs is None or mine is None or mine.size != theirs.size:
        return False
    if hasattr(argument, "shape") and mine.shape != theirs.shape:  # numpy_models: batch last
        mine = mine.transpose(3, 1, 0, 2) if mine.ndim == 4 else mine.T
    close = mine.shape == theirs.shape and np.allclose(mine, theirs, rtol=1e-3, atol=1e-4)
    return bool(close)


def _wrap(layer: Any, method: str, wrapper: Callable[[Any], Any]) -> None:
    """Replace a method of one object by wrapper(method)."""
    layer = getattr(layer, "wrapped", layer)  # which its network calls, whatever its names
    if hasattr(layer, f"{method}_batch_last"):  # by which numpy_models' layers call each other
        method = f"{method}_batch_last"
    with suppress(AttributeError):  # of an object with slots
        setattr(layer, method, wrapper(getattr(layer, method)))


def _carried_over(module: nn.Module, network: Network, task: Task) -> Finding | None:
    """Find that one call's result depends on the call before it."""
    results: list[Tensors] = []
    for before in (other(task), task):
        try:
            stale = run_numpy(network, before)
            to_numpy(module, network)
            results.append(run_numpy(network, fresh(task)))
        except ParityError:
            return None
        if before is not task and _same(stale, results[0]):
            theirs = [run_forward(module, each, each.precision) for each in (before, task)]
            if not np.array_equal(*(next(iter(named(y, Tensor).values())) for y in theirs)):
                return "calls", "calls, which give the same output whatever the inputs"
    for place, value in results[0].items():
        if not np.array_equal(value, results[1][place], equal_nan=True):
            if not _same(run_numpy(network, fresh(task)), results[1]):
                return "random numbers", (
                    "random numbers, which the NumPy network draws anew each time: give its "
                    "dropout an attribute `draw`, by which it shares torch's masks"
                )
            tensor = " of ".join(filter(None, [place[1], place[0]]))
            return "calls", f"calls, of which one changes the next one's {tensor}"
    return None


def _same(one: Tensors, two: Tensors) -> bool:
    return all(np.array_equal(one[p], two[p]) for p in two if p[1].startswith("output"))


def _single(comparison: Comparison) -> Finding | None:
    """Where all that is wrong is in one place of several, name the place."""
    first = comparison.failures[0]
    if len({check.layer for check in comparison.failures}) > 1 or len(comparison.checks) == 1:
        return None
    place = first.layer or first.tensor
    if place == "gradient of input":
        return place, f"{place} alone: {first}"
    return place, f"{place}, the only place that is wrong: {first}"
