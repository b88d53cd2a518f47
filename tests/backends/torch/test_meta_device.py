"""The steps on torch's meta device: what is made on the host by mistake does not mix with it.

The device has shapes and no numbers, so a step that reads one fails as well.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support import compose
from training.backends.protocol import EpochPlan, Totals
from training.backends.torch.devices import Execution
from training.backends.torch.masks import DropoutMasks
from training.backends.torch.networks import open_network
from training.backends.torch.steps import Pixels, Steps

META = Execution("meta", threads=1, graph=False, compile=False, precision="float32")
NETWORKS = (
    ("model=lenet5_tanh",),
    ("model=lenet5_relu", "model.arguments.ties=all"),
    ("model=lenet5_avgpool",),
    ("model=lenet5_bn",),
    ("model=deepcnn21",),
    ("model=deepcnn21", "model.arguments.ties=all", "model.arguments.dropout=inverted"),
)


def step(steps: Steps, shape: tuple[int, ...]) -> Tensor:
    """Take steps of 8, 8 and 4 images; return the losses."""
    images = torch.empty(20, *shape, dtype=torch.uint8, device="meta")
    steps.place(images, torch.empty(20, dtype=torch.int64, device="meta"))
    order, flips, moves = np.zeros(20, np.int64), np.zeros(20, bool), np.zeros((20, 2, 3))
    offsets = [0, 8, 16, 20]
    plan = EpochPlan(order, np.array(offsets), flips, 0, moves.astype(np.float32))
    steps.begin(plan, Totals())
    steps.run(offsets, first_step=0)
    return steps.sums()[0]


@pytest.mark.parametrize("settings", NETWORKS, ids=" ".join)
def test_a_step_stays_on_its_device(settings):
    config = compose("backend=torch", "device=cpu", *settings)
    side, net = config.model.image_size, open_network(config, "meta")
    shape = (1, side, side)
    masks = DropoutMasks(net, 0, "meta", shape)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    losses = step(Steps(net, optimizer, masks, Pixels(1 / 255, 0.5), META), shape)
    assert (losses.device.type, losses.shape) == ("meta", ())


@pytest.mark.parametrize("fault", [lambda x: x + torch.ones(10), lambda x: x * x.max().item()])
def test_one_that_does_not_is_told(fault):
    class Faulty(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return fault(super().forward(x))

    net = Faulty(nn.Flatten(), nn.Linear(784, 10)).to("meta")
    masks = DropoutMasks(net, 0, "meta", (1, 28, 28))
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    steps = Steps(net, optimizer, masks, Pixels(1 / 255, 0.5), META)
    with pytest.raises(RuntimeError, match="meta"):
        step(steps, (1, 28, 28))
