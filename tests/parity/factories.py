"""Pairs, right and wrong, that the command line is tried on."""

from __future__ import annotations

import os
import sys

import numpy as np
import torch
from threadpoolctl import threadpool_info
from torch import nn

import numpy_models

INPUTS = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def right(batch: int = 6):
    torch.manual_seed(0)
    return (
        nn.Sequential(nn.Linear(4, 3)),
        numpy_models.Sequential(numpy_models.Linear(4, 3)),
        (INPUTS[:batch]),
    )


class Raising(numpy_models.Linear):
    def forward_batch_last(self, x):
        raise FloatingPointError("the matrix is tired")


class Doubled(numpy_models.Linear):
    def backward_batch_last(self, dy, input_gradient=True):
        dx = super().backward_batch_last(dy, input_gradient)
        self._gradients["bias"] *= 2
        return dx


def _with(kind: type, **more):
    module, _, inputs = right()
    network = numpy_models.Sequential(kind(4, 3))
    return {"torch_module": module, "numpy_network": network, "inputs": inputs, **more}


def raising():
    return _with(Raising)


def wrong():
    targets = np.arange(6) % 3
    losses = nn.CrossEntropyLoss(), numpy_models.CrossEntropyLoss()
    more = {"torch_criterion": losses[0], "numpy_criterion": losses[1]}
    return _with(Doubled, targets=targets, **more, train=True, name="the pair")


def wrong_loss():
    module, network, inputs = right()
    more = {
        "torch_criterion": nn.CrossEntropyLoss(),
        "numpy_criterion": numpy_models.CrossEntropyLoss(0.1),
        "targets": np.arange(6) % 3,
    }
    return {"torch_module": module, "numpy_network": network, "inputs": inputs, **more}


def failing():
    raise OSError("no such weights")


def a_pair_of_two():
    return right()[:2]


def nothing():
    return None


def number():
    return 3


def interrupted():
    raise KeyboardInterrupt


def misspelt():
    return _with(numpy_models.Linear, target=1)


def incomplete():
    return {"torch_module": nn.Linear(1, 1)}


def no_module():
    return numpy_models.Linear(4, 3), *right()[1:]


def wrong_dtype():
    return *right()[:2], INPUTS.astype(np.float64)


def wrong_width():
    return *right()[:2], INPUTS[:, :3]


def no_gradient():
    class Detached(nn.Linear):
        def forward(self, x):
            return super().forward(x).detach()

    return nn.Sequential(Detached(4, 3)), *right()[1:]


def missing_bias():
    return nn.Sequential(nn.Linear(4, 3, bias=False)), *right()[1:]


def no_tensor():
    class Silent(nn.Linear):
        def forward(self, x):
            return []

    return Silent(4, 3), *right()[1:]


def loss_without_targets():
    return _with(
        numpy_models.Linear,
        torch_criterion=nn.CrossEntropyLoss(),
        numpy_criterion=numpy_models.CrossEntropyLoss(),
    )


def wrong_with_plain_kernels():
    plain = os.environ.get("ATEN_CPU_CAPABILITY") == "default"
    return _with(Doubled if plain else numpy_models.Linear)


def dying():
    print("this is no answer")
    print("out of luck", file=sys.stderr)
    sys.stderr.flush()
    os._exit(9)


value = 3


class ShiftedWrongly(numpy_models.Linear):
    """y = x·Wᵀ + b + z, with a gradient of z that is too large."""

    def forward(self, x, z):
        return super().forward(x) + z

    def backward(self, dy):
        return super().backward(dy), dy * np.float32(1.01)


class Shifted(nn.Linear):
    def forward(self, x, z):
        return super().forward(x) + z


def several():
    return Shifted(4, 3), ShiftedWrongly(4, 3), (INPUTS, INPUTS[:, 1:])


class Lone(numpy_models.Linear):
    """Forgets the bias for a sample alone."""

    def forward(self, x):
        y = super().forward(x)
        return y - self.parameters()["bias"] if len(x) == 1 else y


def wrong_for_one_sample():
    return nn.Linear(4, 3), Lone(4, 3), INPUTS


class Tired(numpy_models.Linear):
    """Wrong the first time that one is made, and never again: no reproduction can show it."""

    made = 0

    def __init__(self, *arguments):
        super().__init__(*arguments)
        Tired.made += 1
        self.offset = np.float32(Tired.made <= 2)  # the factory is called once for its modes

    def forward_batch_last(self, x):
        return super().forward_batch_last(x) + self.offset


def tired():
    return _with(Tired)


def echo(job):
    """Work for a process of its own: what it was told, and what it computes with."""
    print("said to standard output")
    blas = [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]
    return {"job": job, "torch": torch.get_num_threads(), "blas": max(blas)}
