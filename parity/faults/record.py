"""A planted fault, a harmless rewrite, and the scene both are planted in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

import numpy_models
from numpy_models import Layer
from parity.steps import Batch, Recipe


@dataclass
class Scene:
    """A right pair, its loss and its training; planting changes the NumPy side alone.

    Attributes:
        module: torch's side.
        network: NumPy's side, in float32.
        batches: (inputs, targets) of each training step; the first is what is compared.
        losses: torch's and NumPy's loss.
        torch_optimizer: makes torch's optimizer of parameters.
        numpy_optimizer: makes the NumPy optimizer of a network.
        torch_schedule: makes torch's schedule of an optimizer.
        numpy_schedule: makes the NumPy schedule of an optimizer.
        epoch_steps: optimizer steps between two steps of the schedule.
        vary: whether the pair is held on variations of its inputs too.
    """

    module: nn.Module
    network: Any
    batches: list[Batch]
    losses: tuple[Any, Any]
    torch_optimizer: Callable[..., Any]
    numpy_optimizer: Callable[..., Any]
    torch_schedule: Callable[..., Any]
    numpy_schedule: Callable[..., Any]
    epoch_steps: int = 2
    vary: bool = False

    def recipe(self) -> Recipe:
        """Return how both sides train."""
        return Recipe(
            self.torch_optimizer,
            self.numpy_optimizer,
            *self.losses,
            self.torch_schedule,
            self.numpy_schedule,
            self.epoch_steps,
        )


Plant = Callable[[Scene], None]


@dataclass(frozen=True)
class Fault:
    """One mistake that people make.

    Attributes:
        name: what the mistake is, unique.
        area: the kind of code it is made in.
        culprit: what the harness must name: a layer, "loss", "optimizer", "schedule", a tensor or
            method where the fault belongs to no layer.
        scene: name of the pair it is planted in (`parity.faults.scenes`).
        plant: puts it there.
    """

    name: str
    area: str
    culprit: str
    scene: str
    plant: Plant = field(repr=False)


@dataclass(frozen=True)
class Rewrite:
    """Another right way to compute the same, which must pass."""

    name: str
    scene: str
    plant: Plant = field(repr=False)


def become(layer: str, kind: type[Layer]) -> Plant:
    """Plant by turning one layer into an instance of a subclass of its class."""

    def plant(scene: Scene) -> None:
        target = scene.network.layers[layer]
        assert issubclass(kind, type(target)), f"{layer} is a {type(target).__name__}"
        target.__class__ = kind

    return plant


def become_all(kind: type[Layer]) -> Plant:
    """Plant by turning every layer of the subclass's base class."""

    def plant(scene: Scene) -> None:
        targets = [x for x in scene.network.layers.values() if type(x) is kind.__mro__[1]]
        assert targets
        for target in targets:
            target.__class__ = kind

    return plant


def set_attributes(layer: str, **values: Any) -> Plant:
    """Plant by changing attributes of one layer."""

    def plant(scene: Scene) -> None:
        for name, value in values.items():
            assert hasattr(scene.network.layers[layer], name)
            setattr(scene.network.layers[layer], name, value)

    return plant


def scaled(layer: str, tensor: str, factor: float) -> Plant:
    """Plant a factor on one gradient ("input", "weight" or "bias") of one layer."""

    def plant(scene: Scene) -> None:
        target = scene.network.layers[layer]

        class Scaled(type(target)):  # type: ignore[misc]
            def backward_batch_last(self, dy: np.ndarray, input_gradient: bool = True) -> Any:
                dx = super().backward_batch_last(dy, input_gradient)
                if tensor == "input":
                    return None if dx is None else dx * dx.dtype.type(factor)
                self._gradients[tensor] *= factor
                return dx

        target.__class__ = Scaled

    return plant


def with_loss(kind: type) -> Plant:
    """Plant by taking another NumPy loss."""

    def plant(scene: Scene) -> None:
        scene.losses = scene.losses[0], kind()

    return plant


def sequence(*plants: Plant) -> Plant:
    """Plant one after the other."""

    def plant(scene: Scene) -> None:
        for each in plants:
            each(scene)

    return plant


def network_becomes(kind: type[numpy_models.Sequential]) -> Plant:
    """Plant by turning the network into an instance of a subclass of Sequential."""

    def plant(scene: Scene) -> None:
        scene.network.__class__ = kind

    return plant
