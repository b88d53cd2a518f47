"""Tell the layer that is wrong by itself from those that inherit its error."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

from parity.comparison import LayerProbe, hold
from parity.perturbation import layers_of
from parity.protocol import Identity, Network, ParityError, check_network, without_backward
from parity.runs import array_of, run_torch
from parity.task import Setting, Task
from parity.trees import Call, mapped, named


@dataclass
class Passage:
    """One call of one layer in a torch run, as arrays.

    `constants` names the arguments that torch took no gradient of; `upstream` is the gradient that
    arrived at each output, `shapes` the outputs' shapes, by name.
    """

    layer: str
    call: Call
    constants: frozenset[str] = frozenset()
    upstream: dict[str, np.ndarray] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


def probes(setting: Setting, blocks: bool = False) -> list[LayerProbe]:
    """Hold every layer alone, and the loss, on what torch gave it forward and backward.

    A layer that cannot be run alone is left out. With `blocks`, modules made of layers are held
    in their place.

    Raises:
        ParityError: if none can.
    """
    found, reason = list[LayerProbe](), None
    for part in parts(setting, blocks):
        try:
            found.append(LayerProbe(part.layer, kind_of_part(part), hold(part)))
        except ParityError as error:
            reason = error
    if not found and reason is not None and not blocks:
        raise reason
    return found


def kind_of_part(part: Setting) -> str:
    """Return the class of a layer on the torch side, or of the loss on NumPy's."""
    if part.layer == "loss":
        return type(part.task.numpy_criterion).__name__
    return type(part.module).__name__


def parts(setting: Setting, blocks: bool = False) -> Iterator[Setting]:
    """Give every layer that both sides have, in torch's calling order, then the loss.

    A layer that is called several times is given once for each call. With `blocks`, modules made
    of layers are given instead.
    """
    task, members = setting.task, dict[str, Any]()
    with suppress(ParityError) if task.torch_criterion is not None else nullcontext():
        members = members_of(setting.module, setting.network, setting.layers, blocks)
    passages, output = traffic(setting.module, task, members if blocks else ())
    for passage in passages:
        layer = passage.layer
        if layer not in members or not (task.forward_only or passage.upstream):
            continue
        network = copied(members[layer])
        call = _accepted(network, passage.call)
        if call is None:
            continue
        inside = {
            name.removeprefix(f"{layer}."): kind
            for name, kind in task.expect.items()
            if name.startswith(f"{layer}.")
        }
        alone = replace(
            task,
            inputs=call,
            upstream=None if task.forward_only else passage.upstream,
            targets=None,
            torch_criterion=None,
            numpy_criterion=None,
            expect={name: kind for name, kind in inside.items() if "." not in name},
            forward_only=task.forward_only or without_backward(network),
            constants=passage.constants,
        )
        module = setting.module.get_submodule(layer)
        name = f"{setting.name}, {layer} alone"
        yield Setting(name, module, network, alone, layer=layer, ask=setting.ask)
    if task.torch_criterion is not None and not blocks:
        loss = replace(task, inputs=output, expect={})
        sides = nn.Identity(), Identity()
        yield Setting(f"{setting.name}, loss", *sides, loss, layer="loss", ask=setting.ask)


def copied(side: Any) -> Any:
    """Return an independent copy of a NumPy side, or itself where it cannot be copied."""
    try:
        return copy.deepcopy(side)
    except Exception:
        return side


def members_of(
    module: nn.Module, network: Network, layers: Mapping[str, Any] | None, blocks: bool = False
) -> dict[str, Any]:
    """Return the NumPy network's layers by torch's names, or its modules made of layers.

    Raises:
        ParityError: if it shows no layers.
    """
    members = getattr(network, "layers", None) if layers is None else layers
    inside = [name for name, _ in module.named_modules() if name]
    computing = layers_of(module)
    if isinstance(members, Mapping):
        shown = dict(_flat(members, blocks))
        outer = [name for name in inside if name in shown and name not in computing]
        return {name: shown[name] for name in outer} if blocks else shown
    names = [name for name in inside if "." not in name and (name in computing) is not blocks]
    members = {name: getattr(network, name, None) for name in names}
    members = {name: layer for name, layer in members.items() if hasattr(layer, "forward")}
    if not members and not blocks:
        raise ParityError(
            f"{type(network).__name__} has neither a mapping `layers` nor attributes under torch's "
            "names, so no layer can be run alone: pass layers="
        )
    return members


def _flat(members: Mapping[str, Any], blocks: bool) -> Iterator[tuple[str, Any]]:
    """Give the members, those that have layers of their own replaced by them, as torch does.

    With `blocks` these are given too.
    """
    for name, layer in members.items():
        inner = getattr(layer, "layers", None)
        inner = inner if isinstance(inner, Mapping) else {}
        if blocks or not inner:
            yield name, layer
        yield from ((f"{name}.{leaf}", member) for leaf, member in _flat(inner, blocks))


def _accepted(network: Any, call: Call) -> Call | None:
    """Return torch's arguments without options that NumPy's layer does not know.

    None is returned for a layer without the protocol's methods, or that takes other arguments.
    """
    try:
        check_network(network)
        signature = inspect.signature(network.forward)
        names = {parameter.name for parameter in signature.parameters.values()}
        if not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
            options = call.kwargs.items()
            call = Call(
                call.args, {n: v for n, v in options if n in names or isinstance(v, np.ndarray)}
            )
        signature.bind(*call.args, **call.kwargs)
    except (ParityError, TypeError):
        return None
    except ValueError:  # of a compiled function, which shows no signature
        pass
    return call


def traffic(module: nn.Module, task: Task, names: Iterable[str] = ()) -> tuple[list[Passage], Any]:
    """Return each call of a layer, or of the modules named, in a torch run, and its output."""
    passages, running, outputs = list[Passage](), list[Passage](), list[Any]()

    def enter(layer: str, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = Call(args, kwargs)
        fixed = [name for name, x in named(given, Tensor).items() if not x.requires_grad]
        running.append(Passage(layer, _arrays(given), frozenset(fixed)))
        passages.append(running[-1])

    def leave(_: nn.Module, args: tuple[Any, ...], y: Any) -> None:
        passage = running.pop()
        for name, leaf in named(y, Tensor).items():
            if leaf.requires_grad:
                passage.shapes[name] = tuple(leaf.shape)
                leaf.register_hook(lambda dy, n=name: passage.upstream.update({n: array_of(dy)}))

    with ExitStack() as stack:
        for name in names or layers_of(module):
            layer, hook = module.get_submodule(name), partial(enter, name)
            stack.enter_context(layer.register_forward_pre_hook(hook, with_kwargs=True))
            stack.enter_context(layer.register_forward_hook(leave))
        last = module.register_forward_hook(lambda _, x, y: outputs.append(_arrays(y)))
        stack.enter_context(last)
        run_torch(module, task, task.precision)
    for passage in passages:
        if passage.upstream:
            for name, shape in passage.shapes.items():  # what nothing depends on has none
                passage.upstream.setdefault(name, np.zeros(shape, task.dtype))
    return passages, outputs[-1]


def _arrays(tree: Any) -> Any:
    return mapped(lambda _, tensor: array_of(tensor), tree, Tensor)
