"""Epochs of many networks at once, each with a seed of its own."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.epoch_tasks import RECIPE, EpochTask, compose, dataset
from training.backend import Totals
from training.loop import plan_epoch
from training.torch_backend.many import ManyNetworks


class TogetherLoop(EpochTask):
    """What `hydra/launcher=together` does with a study over seeds.

    Args:
        models: how many networks.
    """

    def __init__(self, threads: int, images: int, models: int, device: str = "cpu") -> None:
        config = compose(RECIPE, "torch", device, {"threads": threads})
        self._configs = [replace(config, seed=config.seed + number) for number in range(models)]
        super().__init__(threads, images, device)

    def prepare(self) -> None:
        """Resize the images, stack the networks, and let them take the images over."""
        self._networks = ManyNetworks(self._configs)
        self._networks.place(dataset(self.images, self.labels, self._configs[0]))
        self._epochs = 0

    def epoch(self, images: int) -> float:
        """Train on the first images; return the mean loss over all networks."""
        members = self._networks.members
        plans = [plan_epoch(config, images, self._epochs) for config in self._configs]
        self._epochs += 1
        for member, plan in zip(members, plans, strict=True):
            member.begin_epoch(plan, Totals())
        steps, stride = plans[0].steps, members[0].steps_per_call
        for first in range(0, steps, stride):
            for member in members:
                member.train(first, min(first + stride, steps))
            self._networks.advance()
        losses = [member.totals().loss / images for member in members]
        for member in members:
            member.end_epoch()
        return sum(losses) / len(losses)
