"""A side for tests of the harness: a torch module behind the methods of a NumPy network."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from parity.trees import Call, mapped, named


class Mirror:
    """A copy of a torch module, computing with its own kernels; to be spoilt on purpose."""

    def __init__(self, module: nn.Module) -> None:
        self.module = copy.deepcopy(module)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.inputs = mapped(lambda _, x: _tensor(x), Call(args, kwargs), np.ndarray)
        call = mapped(lambda _, x: x.clone(), self.inputs, Tensor)  # which a layer may change
        self.y = self.module(*call.args, **call.kwargs)
        return mapped(lambda _, y: y.detach().numpy().copy(), self.y, Tensor)

    def backward(self, dy: Any) -> Any:
        self.module.zero_grad()
        upstream = named(dy, np.ndarray)
        heads = {name: y for name, y in named(self.y, Tensor).items() if name in upstream}
        gradients = [torch.tensor(upstream[name]) for name in heads]
        torch.autograd.backward(list(heads.values()), gradients)
        inputs = mapped(
            lambda _, x: None if x.grad is None else x.grad.numpy(), self.inputs, Tensor
        )
        found = list(named(inputs, np.ndarray).values())
        return found[0] if len(found) == 1 else inputs.args or inputs.kwargs

    def parameters(self) -> dict[str, np.ndarray]:
        named = self.module.named_parameters(remove_duplicate=False)
        return {name: p.detach().numpy() for name, p in named}

    def gradients(self) -> dict[str, np.ndarray]:
        return {
            n: p.grad.to_dense().numpy()
            for n, p in self.module.named_parameters()
            if p.grad is not None
        }

    def buffers(self) -> dict[str, np.ndarray]:
        parameters = self.parameters()
        state = self.module.state_dict().items()
        return {name: x.numpy() for name, x in state if name not in parameters}

    def train(self) -> None:
        self.module.train()

    def eval(self) -> None:
        self.module.eval()


def _tensor(array: np.ndarray) -> Tensor:
    tensor = torch.tensor(array)
    return tensor.requires_grad_() if tensor.is_floating_point() else tensor
