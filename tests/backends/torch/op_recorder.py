"""A recorder for the CPU that keeps what a CUDA graph keeps: operations on places, and no Python.

A number that the recorded code took from the host is frozen, as it would be in a graph; a tensor is
read anew from its place at every replay. What a graph cannot hold is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

FORBIDDEN = {
    "aten::_local_scalar_dense": "reads a number from the device",
    "aten::lift_fresh": "brings a number from the host",
    "aten::nonzero": "has a result whose shape depends on numbers",
    "aten::masked_select": "has a result whose shape depends on numbers",
}


class OpRecorder:
    """Records as `training.backends.torch.capture.Recorder`.

    Attributes:
        recordings: the names of each recording's operations; on a device each would be a kernel,
            or a few.
        replayed: the number of replays.
    """

    def __init__(self) -> None:
        self.recordings: list[list[str]] = []
        self.replayed = 0

    def working(self) -> AbstractContextManager[None]:
        return nullcontext()

    def __call__(self, action: Callable[[], None]) -> Callable[[], None]:
        """Do the action and keep its operations, so that the first replay has nothing to do."""
        with _Operations() as operations:
            action()
        self.recordings.append([str(operation) for operation, *_ in operations.kept])
        fresh = [True]

        def replay() -> None:
            self.replayed += 1
            if not fresh:
                operations.repeat()
            fresh.clear()

        return replay


class _Operations(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Any]]] = []

    def __torch_dispatch__(
        self,
        operation: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = operation._schema.name
        if name == "aten::index" and any(i is not None and i.dtype == torch.bool for i in args[1]):
            name = "aten::masked_select"
        if name in FORBIDDEN:
            raise AssertionError(f"{name} {FORBIDDEN[name]}: a graph cannot hold it")
        result = operation(*args, **(kwargs or {}))
        if name.startswith("aten::") and not _makes_views(operation):
            self.kept.append((operation, args, kwargs or {}, tree_leaves(result)))
        return result

    def repeat(self) -> None:
        """Do the operations again, with the same numbers and on the same places."""
        with torch.no_grad():
            for operation, args, kwargs, places in self.kept:
                results = tree_leaves(operation(*args, **kwargs))
                for place, result in zip(places, results, strict=True):
                    if isinstance(place, torch.Tensor) and place is not result:
                        place.copy_(result)


def _makes_views(operation: Any) -> bool:
    aliases = [each.alias_info for each in operation._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)
