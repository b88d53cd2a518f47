"""Many networks on one device: every step is one computation for all of them.

The networks differ in their seeds, initial weights and learning rates alone. Each is seen from
outside as a `Member`, a backend of its own; the steps that all members ask for are taken by
`ManyNetworks.advance`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.backend import EpochPlan, Totals, pixel_scale
from training.config import Config
from training.data import Dataset
from training.errors import RunError
from training.torch_backend.backend import EVALUATION_BATCH
from training.torch_backend.devices import prepare
from training.torch_backend.masks import StackedMasks
from training.torch_backend.member import Member
from training.torch_backend.networks import image_shape, layer_table, open_network
from training.torch_backend.optimizers import learning_rate, make_optimizer, state_kinds
from training.torch_backend.stacked import StackedNetworks
from training.torch_backend.steps import Pixels, Steps


class ManyNetworks:
    """The networks of several runs, trained in lockstep.

    Networks with the same learning rate lie beside each other, so that the optimizer, which works
    number by number, sees them as one group of parameters.

    Args:
        configs: of the runs; they differ in seed, init and optimizer.lr alone.

    Attributes:
        members: the runs' backends, in the order of configs.

    Raises:
        ConfigError: if the network, the device or a setting cannot be had.
    """

    def __init__(self, configs: Sequence[Config]) -> None:
        config = configs[0]
        self.execution = execution = prepare(config)
        order = sorted(range(len(configs)), key=lambda number: configs[number].optimizer.lr)
        ordered = [configs[number] for number in order]
        nets = [open_network(each, execution.device) for each in ordered]
        shape = image_shape(config)
        self.layers = layer_table(nets[0], shape, execution.device)
        masks = StackedMasks(nets[0], [each.seed for each in ordered], execution.device, shape)
        self.networks = StackedNetworks(nets, masks)
        self._slices = _equal_rates(ordered)
        parts = self.networks.parts(self._slices)
        groups: list[dict[str, Any]] = [
            {"params": part, "lr": learning_rate(ordered[rows.start].optimizer, execution.captured)}
            for part, rows in zip(parts, self._slices, strict=True)
        ]
        self.optimizer = make_optimizer(groups, config.optimizer, execution.captured)
        self.kinds = state_kinds(config.optimizer)
        self._pixels = Pixels(*map(float, pixel_scale(config.data.scaling)))
        self._steps = Steps(self.networks, self.optimizer, masks, self._pixels, execution)
        self._plans: list[EpochPlan | None] = [None] * len(configs)
        self._asked: tuple[int, int] | None = None
        self._dataset: Dataset | None = None
        self._logits: dict[int | None, NDArray[np.float32]] = {}
        self.taken = 0
        self.members = [
            Member(self, order.index(number), each) for number, each in enumerate(configs)
        ]

    def place(self, dataset: Dataset) -> None:
        """Copy images and labels to the device, once for all members."""
        if dataset is self._dataset:
            return
        self._dataset, device = dataset, self.execution.device
        images = torch.tensor(dataset.train_images, device=device).unsqueeze(1)
        self._test_images = torch.tensor(dataset.test_images, device=device).unsqueeze(1)
        self._steps.place(images, torch.tensor(dataset.train_labels, device=device))

    def begin_epoch(self, row: int, plan: EpochPlan) -> None:
        """Take a network's plan; those whose runs have ended keep their last."""
        self._plans[row], self._plan, self._begun = plan, plan, False

    @property
    def steps(self) -> int:
        """Return the number of steps in the epoch under way."""
        return self._plan.steps

    def ask(self, first: int, last: int) -> None:
        """Ask for the plans' steps first..last-1; every member asks for the same."""
        assert self._asked in (None, (first, last)), "not in lockstep"
        self._asked = first, last

    def advance(self) -> None:
        """Take the steps that have been asked for, and wait until they are done.

        Raises:
            RunError: if the device's memory is too small for so many networks.
        """
        assert self._asked is not None
        first, last = self._asked
        self._asked = None
        self._logits.clear()
        offsets = self._plan.offsets[first : last + 1].tolist()
        with self._memory():
            if not self._begun:
                self._begin()
            self._steps.run(offsets, self._plan.first_step + first)
            loss, correct = self._steps.sums()
            self._losses, self._right = loss.cpu().numpy(), correct.cpu().numpy()
        self._images_seen += offsets[-1] - offsets[0]
        self.taken += last - first

    def totals(self, row: int) -> Totals:
        """Return a network's sums of the epoch so far."""
        return Totals(float(self._losses[row]), int(self._right[row]), self._images_seen)

    @torch.inference_mode()
    def evaluate(self, first_training: int | None) -> NDArray[np.float32]:
        """Return the logits of all networks, (networks, N, 10); see `Backend.evaluate`.

        Raises:
            RunError: as `advance`.
        """
        if first_training not in self._logits:
            images = self._test_images
            if first_training is not None:
                images = self._steps.images[:first_training]
            size = max(1, EVALUATION_BATCH[self.execution.device] // len(self._plans))
            with self._memory(), self.execution.autocast():
                parts = [self.networks.evaluate(self._pixels(part)) for part in images.split(size)]
            self._logits[first_training] = torch.cat(parts, 1).float().cpu().numpy()
        return self._logits[first_training]

    def slot(self, row: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return a network's parameter group and what the optimizer keeps for each parameter."""
        for rows, group in zip(self._slices, self.optimizer.param_groups, strict=True):
            if rows.start <= row < rows.stop:
                slots = {}
                for name, part in zip(self.networks.parameters, group["params"], strict=True):
                    kept = self.optimizer.state.get(part, {})
                    kinds = [kind for kind in self.kinds if kind in kept]
                    slots[name] = {kind: kept[kind][row - rows.start] for kind in kinds}
                return group, slots
        raise AssertionError("every network is in one group")

    def _begin(self) -> None:
        plans = [plan or self._plan for plan in self._plans]
        flips = None
        if self._plan.flips is not None:
            flips = np.stack([plan.flips for plan in plans if plan.flips is not None])
        nothing = np.zeros(len(plans))
        order = np.stack([plan.indices for plan in plans])
        self._steps.begin(order, flips, nothing, nothing.astype(np.int64))
        self._images_seen, self._begun = 0, True

    @contextmanager
    def _memory(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            raise RunError(
                f"the device has no memory for {len(self._plans)} networks at once: train fewer "
                "together, as with hydra.sweeper.max_batch_size=16"
            ) from error


def _out_of_memory(error: BaseException | None) -> bool:
    """Return whether that is what happened; the end of a recording may raise an error on top."""
    while error and not isinstance(error, torch.OutOfMemoryError):
        error = error.__context__
    return error is not None


def _equal_rates(configs: Sequence[Config]) -> list[slice]:
    """Return the runs of equal learning rates among ordered configurations."""
    slices, start = [], 0
    for _, equal in groupby(configs, key=lambda config: config.optimizer.lr):
        stop = start + len(list(equal))
        slices.append(slice(start, stop))
        start = stop
    return slices
