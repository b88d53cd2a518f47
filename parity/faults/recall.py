"""What torch computes of a scene: the same for all faults planted in it, and so computed once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
from torch import Tensor, nn

from parity.references import References, references
from parity.task import Task


class Recall:
    """`parity.references.references`, remembered by all that torch's results depend on.

    That is the module's classes, settings and numbers, and the task without NumPy's loss.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, References] = {}

    def __call__(self, module: nn.Module, task: Task) -> References:
        """Return torch's tensors and the budgets of a task."""
        key = _frozen((module, vars(replace(task, numpy_criterion=None))))
        if key not in self._known:
            self._known[key] = references(module, task)
        return self._known[key]


def _frozen(value: Any) -> Hashable:
    """Return something that compares equal for equal content; what is unknown stays itself."""
    if isinstance(value, nn.Module):
        private = value._parameters, value._buffers, value._modules
        settings = {name: each for name, each in vars(value).items() if not name.startswith("_")}
        return type(value), _frozen((settings, private))
    if isinstance(value, Tensor):
        return value.requires_grad, _frozen(value.detach().numpy())
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, sha256(value.tobytes()).digest()
    if isinstance(value, Mapping):
        return tuple((name, _frozen(each)) for name, each in value.items())
    return tuple(map(_frozen, value)) if isinstance(value, tuple | list) else value
