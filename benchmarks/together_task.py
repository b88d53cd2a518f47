"""Epochs of many networks at once, each with a seed of its own."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.epoch_tasks import RECIPE, EpochTask, compose, dataset, warm_up_steps
from training.backend import EpochPlan, Totals
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

    def warm_up(self) -> None:
        """Take the first steps of an epoch, and its last one several times."""
        for first, last in warm_up_steps(self._begin()):
            self._take(first, last)

    def epoch(self) -> float:
        """Train on all images; return the mean loss over all networks."""
        members, plan = self._networks.members, self._begin()
        self._epochs += 1
        stride = members[0].steps_per_call
        for first in range(0, plan.steps, stride):
            self._take(first, min(first + stride, plan.steps))
        losses = [member.totals().loss / len(plan.indices) for member in members]
        for member in members:
            member.end_epoch()
        return sum(losses) / len(losses)

    def _begin(self) -> EpochPlan:
        """Give each network its plan; return one of them."""
        for member, config in zip(self._networks.members, self._configs, strict=True):
            plan = plan_epoch(config, len(self.labels), self._epochs)
            member.begin_epoch(plan, Totals())
        return plan

    def _take(self, first: int, last: int) -> None:
        for member in self._networks.members:
            member.train(first, last)
        self._networks.advance()
